"""Names that are imported when they are first asked for."""

import json
import subprocess
import sys

import pytest

import sursum as su
from sursum.common.late_names import LateNames

PROBE = """
import json, random, sys
import numpy, torch
from torch.distributions import Distribution, biject_to, transform_to, kl
from torch.utils._python_dispatch import _get_current_dispatch_mode
def state():
    return [
        str(torch.get_default_dtype()), Distribution._validate_args, torch.is_grad_enabled(), torch.get_num_threads(),
        len(biject_to._registry), len(transform_to._registry), len(kl._KL_REGISTRY), str(torch.get_default_device()),
        torch.random.get_rng_state().sum().item(), hash(random.getstate()), hash(str(numpy.random.get_state())),
        torch.distributions.Normal.__init__.__qualname__, sorted(vars(Distribution)), sys.getrecursionlimit(),
        str(_get_current_dispatch_mode()), str(__import__("warnings").filters), torch.are_deterministic_algorithms_enabled(),
    ]
before, modules = state(), set(sys.modules)
import sursum as su
import sursum.distributions as dist
imported, unchanged = set(sys.modules) - modules, state() == before
def model(y):
    with su.plate("n", 3):
        su.sample("y", dist.Normal(su.sample("mu", dist.Normal(0.0, 2.0)), 1.0), obs=y)
kernel = su.infer.NUTS(model)
sampler = su.infer.MCMC(kernel, num_warmup=500, num_samples=1000, num_chains=2, seed=0, progress=False)
sampler.run(torch.zeros(3))
ran = set(sys.modules) - modules - imported
from sursum.vi.autoguide.flow import zuko_flows
zuko_flows()
found = {"modules": {"imported": sorted(imported), "ran": sorted(ran)}, "unchanged": unchanged}
json.dump({**found, "checks": Distribution._validate_args}, sys.stdout)
"""

# What neither an import nor a run needs.
UNUSED = [
    "sursum.vi",
    "sursum.optimise",
    "sursum.networks",
    "sursum.training",
    "sursum.studies",
    "sursum.show",
    "sursum.compat",
]
FOREIGN = ["nutpie", "arviz", "xarray", "pandas", "pyarrow", "arro3", "zarr", "numcodecs", "scipy", "matplotlib", "IPython"]
FOREIGN += [
    "loky",
    "ray",
    "cloudpickle",
    "opt_einsum",
    "sympy",
    "torch._dynamo",
    "torch._inductor",
    "torch.fx.experimental.symbolic_shapes",
]


@pytest.fixture(scope="module")
def process():
    """What a process that knows only torch imports for sursum, and then for a run; and what that changes."""
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.parametrize("package", [*UNUSED, *FOREIGN])
def test_neither_an_import_nor_a_run_loads_what_it_does_not_use(process, package):
    for modules in process["modules"].values():
        assert [name for name in modules if name == package or name.startswith(package + ".")] == []


def test_a_run_imports_nothing_of_ours_that_the_import_has_not(process):
    """So that what a first run takes is not spread over it."""
    assert [name for name in process["modules"]["ran"] if name.startswith("sursum")] == []


def test_importing_changes_nothing_in_the_process(process):
    assert process["unchanged"]


def test_flows_leave_torchs_own_checks_as_they_were(process):
    """They import zuko, and that torch's compiler, which switches the checks off; in this process both may be there already."""
    assert process["checks"] is True


def test_names_are_listed_before_they_are_imported():
    assert {*su.infer.__all__} <= {*dir(su.infer)}
    assert {*su.__all__} <= {*dir(su)}


def test_a_name_is_an_attribute_once_it_has_been_asked_for():
    late = LateNames("sursum.infer", {"sursum.vi.importance": ["Importance"], "sursum.infer.reparam": ["reparam"]})
    assert late.load("Importance") is vars(su.infer)["Importance"]
    assert late.load("reparam") is sys.modules["sursum.infer.reparam"]
    assert sorted(late) == ["Importance", "reparam"]
    assert "SVI" not in late


def test_a_function_that_became_a_class_says_so():
    with pytest.raises(AttributeError, match="class of settings"):
        su.infer.fit(print)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        su.infer.nothing  # noqa: B018
