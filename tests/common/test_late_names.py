"""Names that are imported when they are first asked for."""

import json
import subprocess
import sys

import pytest

import sursum as su
from sursum.common.late_names import LateNames

PROBE = """
import json, sys
import torch
before = set(sys.modules)
import sursum as su
import sursum.distributions as dist
imported = set(sys.modules) - before
def model(y):
    with su.plate("n", 3):
        su.sample("y", dist.Normal(su.sample("mu", dist.Normal(0.0, 2.0)), 1.0), obs=y)
kernel = su.infer.NUTS(model)
posterior = su.infer.MCMC(kernel, num_warmup=50, num_samples=50, seed=0, progress=False).run(torch.zeros(3))
ran = set(sys.modules) - before - imported
json.dump({"imported": sorted(imported), "ran": sorted(ran)}, sys.stdout)
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
    """What a process that knows only torch imports for sursum, and then for a run."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE], capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("package", [*UNUSED, *FOREIGN])
def test_neither_an_import_nor_a_run_loads_what_it_does_not_use(process, package):
    for modules in process.values():
        assert [name for name in modules if name == package or name.startswith(package + ".")] == []


def test_a_run_imports_nothing_of_ours_that_the_import_has_not(process):
    """So that what a first run takes is not spread over it."""
    assert [name for name in process["ran"] if name.startswith("sursum")] == []


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
