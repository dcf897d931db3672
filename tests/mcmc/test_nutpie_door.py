"""nutpie's raw entry is private: this holds it to what we use, and sampling through it to the truth."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest
from tests.support.monte_carlo import agree

from sursum.errors import DiagnosticWarning, EngineWarning, SamplingError
from sursum.mcmc import nutpie_door
from sursum.mcmc.nutpie_door import Progress

nutpie = nutpie_door._nutpie()

# Later versions (0.16.11 at least) take a callback of the user's, which is handed through.
EXTRA = ["extra_callback", "extra_callback_rate"] if nutpie.__version__ != "0.16.8" else []

short = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("LogpFunc", ["ptr", "user_data_ptr", "keep_alive"]),
        ("ExpandFunc", ["dim", "expanded_dim", "ptr", "user_data_ptr", "keep_alive"]),
        (
            "PyMcModel",
            ["density", "expand", "variables", "dim", "dim_sizes", "coords", "init_func", "transform_adapter"],
        ),
        ("PyVariable.new_variables", None),
        ("PySampler.from_pymc", ["settings", "cores", "model", "progress_type", *EXTRA, "store"]),
        ("ProgressType.template_callback", ["rate", "template", "n_cores", "callback"]),
        ("ProgressType.none", None),
        ("PyStorage.arrow", None),
        ("PyNutsSettings.Diag", None),
        ("PyNutsSettings.LowRank", None),
        ("PySampler.is_finished", ["self"]),
        ("PySampler.is_empty", ["self", "ignore_error"]),
        ("PySampler.wait", None),
        ("PySampler.abort", ["self"]),
        ("PySampler.take_results", ["self"]),
    ],
)
def test_the_raw_entry_is_what_we_use(name, parameters):
    """If this fails nutpie has changed: adapt `nutpie_door.native_model`, or bound the version in pyproject.toml."""
    found = nutpie._lib
    for part in name.split("."):
        assert hasattr(found, part), f"nutpie {nutpie.__version__} has no `_lib.{name}` any more"
        found = getattr(found, part)
    if parameters is not None:
        assert list(inspect.signature(found).parameters) == parameters


def test_the_model_hook_is_what_we_use():
    """`nutpie.sample` asks a model for its sampler by these five."""
    from nutpie.compiled_pyfunc import PyFuncModel

    asked = list(inspect.signature(PyFuncModel._make_sampler).parameters)
    assert asked == ["self", "settings", "init_mean", "cores", "progress_type", *EXTRA, "store"]


def test_the_names_of_the_statistics(sampler, gaussian):
    density = gaussian()
    settings = nutpie_door.Settings(20, 20, 0.8, 10, False)
    chain = nutpie_door.start_chain(density, np.array([0.1, 0.2]), 1, settings, watched=False)
    while not chain.finished():
        pass
    trace = chain.trace()
    assert set(trace.stats) == set(nutpie_door.STATS.values())
    assert trace.num_warmup == 20
    assert trace.unconstrained.shape == (40, 2)


def test_native_draws_have_the_moments_of_the_posterior(sampler, native_gaussian):
    density = native_gaussian(covariance=((1.0, 0.8), (0.8, 1.0)))
    posterior = sampler(density, num_warmup=500, num_samples=2000, num_chains=4, seed=6).run()
    assert posterior.warnings == ()
    assert len(density.instances) == 4, "one instance for each chain"
    assert all(instance.numbers[5] > 2500 for instance in density.instances)
    assert agree(posterior["pair"].numpy(), density.mean, density.covariance)


@short
def test_native_and_python_entries_draw_the_same(sampler, gaussian, native_gaussian):
    """Same seed, same start, and arithmetic that differs in the last bits only: the first draws agree closely."""
    python, native = (sampler(density, seed=8).run() for density in (gaussian(), native_gaussian()))
    np.testing.assert_allclose(native.warmup.unconstrained[:, :20], python.warmup.unconstrained[:, :20], rtol=1e-6)


@short
def test_native_chains_do_not_depend_on_cores(sampler, native_gaussian):
    one, two = (sampler(native_gaussian(), num_chains=4, cores=cores).run() for cores in (1, 2))
    np.testing.assert_array_equal(one.unconstrained, two.unconstrained)


@short
def test_draws_are_copied_by_python_where_there_is_no_copy_function(sampler, native_gaussian):
    with_copy, without = native_gaussian(), native_gaussian()
    without.copy_address = None
    np.testing.assert_array_equal(
        sampler(with_copy).run().unconstrained,
        sampler(without).run().unconstrained,
    )


@short
def test_a_positive_code_is_a_divergence_and_the_chain_goes_on(sampler, native_gaussian):
    with pytest.warns(DiagnosticWarning, match="ended in a divergence"):
        posterior = sampler(native_gaussian(fail_at=2000, code=3), num_samples=1000).run()
    assert posterior["mu"].shape == (2, 1000)
    assert posterior.stats["diverging"][:, -1].all()


def test_a_negative_code_stops_the_run(sampler, native_gaussian):
    with pytest.raises(SamplingError, match=r"a chain failed: .+-2.+run again with `engine='torch'`"):
        sampler(native_gaussian(fail_at=500, code=-2), num_samples=1000).run()


@pytest.mark.parametrize("missing", ["LogpFunc", "PyMcModel"])
def test_without_the_raw_entry_chains_call_python(sampler, gaussian, native_gaussian, monkeypatch, missing):
    monkeypatch.delattr(nutpie._lib, missing)
    with pytest.warns(EngineWarning, match=rf"does not have the raw entry .+{missing}.+through Python, which is slower"):
        posterior = sampler(native_gaussian(covariance=((1.0, 0.0), (0.0, 1.0))), num_samples=500).run()
    again = sampler(gaussian(covariance=((1.0, 0.0), (0.0, 1.0))), num_samples=500).run()
    np.testing.assert_array_equal(posterior.unconstrained, again.unconstrained)


def test_sampling_imports_neither_arviz_nor_pandas_nor_sympy_and_nutpie_can_be_imported_afterwards():
    """Those take longer to import than the model takes to sample."""
    script = """
import sys, warnings
import sursum as su, sursum.distributions as dist
program = lambda: su.sample("x", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
lifted = su.lift(lambda: su.param("w", 0.0), dist.Normal(0.0, 1.0))
for model in (program, lifted):
    su.infer.MCMC(su.infer.NUTS(model), num_warmup=300, num_samples=300, seed=1, progress=False).run()
slow = {"arviz", "pandas", "xarray", "matplotlib", "sympy", "numba", "scipy"} & set(sys.modules)
assert not slow, slow
ours = sys.modules["nutpie._lib"]
warnings.simplefilter("ignore")
import nutpie
assert nutpie._lib is ours
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@short
def test_another_signature_falls_back_as_well(sampler, native_gaussian, monkeypatch):
    monkeypatch.setattr(nutpie._lib, "LogpFunc", lambda dim, ptr, user_data_ptr, keep_alive: None)
    with pytest.warns(EngineWarning, match="missing 1 required positional argument"):
        sampler(native_gaussian(), num_chains=1).run()


@short
def test_progress_is_reported(sampler, native_gaussian):
    density = native_gaussian()
    settings = nutpie_door.Settings(1000, 2000, 0.8, 10, False)
    chain = nutpie_door.start_chain(density, np.array([0.1, 0.2]), 1, settings, watched=True)
    while not chain.finished():
        pass
    trace = chain.trace()
    assert (chain.progress.draws, chain.progress.divergences, chain.progress.warming) == (3000, 0, False)
    assert chain.progress.steps == trace.stats["n_steps"].sum()
    assert chain.progress.step_size == trace.stats["step_size"][-1]


def test_progress_reads_what_the_template_writes():
    progress = Progress()
    progress.read("7958 2 46026 0.60 false")
    assert progress == Progress(7958, 2, 46026, 0.6, False)
