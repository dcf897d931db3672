"""Tests lie where their module lies: every module has its own test file, or is listed with the tests that cover it."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SOURCE, TESTS = ROOT / "src" / "sursum", ROOT / "tests"

# A module, or a pattern of modules, and the test files that cover it: where a table or a contract holds many to one rule, or
# where a module is one step of a way that is tested as a whole.
COVERED = {
    "__main__.py": ["show/test_doctor.py", "test_packaging.py"],
    "poutine.py": ["handlers/test_contract.py"],
    "ops.py": ["core/test_vindex.py"],
    # Programs as Pyro's users write them, name by name.
    "compat/differences.py": ["compat/test_port.py"],
    "compat/pyro/*.py": ["compat/pyro/test_programs.py", "compat/pyro/test_names.py"],
    "common/batches.py": ["predict/test_data_loaders.py", "vi/test_minibatches.py"],
    "studies/study_parts.py": ["studies/test_many.py"],
    "show/improper.py": ["show/test_report.py", "show/test_render.py"],
    "common/elsewhere.py": ["common/test_other_libraries.py"],
    "common/torch_private.py": ["test_layers.py"],
    "cluster/workers.py": ["cluster/test_local.py", "cluster/test_ray.py"],
    "common/special/*.py": ["common/special/test_functions.py"],
    "common/taint.py": ["show/test_render.py", "show/test_report.py"],
    "compiler/build_density.py": ["compiler/test_compiled.py", "compiler/test_recent.py"],
    "compiler/capture/*.py": ["compiler/capture/test_capture.py"],
    "compiler/check/points.py": ["compiler/check/test_faithful.py"],
    "compiler/check/slopes.py": ["compiler/check/test_gradient.py"],
    "compiler/eager.py": ["compiler/test_compiled.py"],
    "compiler/engine.py": ["compiler/test_compiled.py", "compiler/native/library/test_faults.py"],
    "compiler/export/text.py": ["compiler/export/test_export.py"],
    "compiler/graph/*.py": ["compiler/test_passes.py", "compiler/graph/test_replay.py"],
    "compiler/scan/*.py": ["compiler/scan/test_roll.py", "compiler/native/test_recurrence.py"],
    # Each operator is a row, and each row is held to torch; whole programs are drawn at random.
    "compiler/native/*.py": ["compiler/native/test_operators.py", "compiler/native/test_fuzz.py"],
    "compiler/native/*/*.py": ["compiler/native/test_operators.py", "compiler/native/test_fuzz.py"],
    "density/execution.py": ["density/test_log_density.py", "handlers/enumerate/test_enumerated.py"],
    "density/explanation.py": ["density/test_log_density.py"],
    "density/parents.py": ["show/test_render.py", "vi/test_dependent_guides.py"],
    "density/first_run.py": ["density/test_log_density.py", "handlers/enumerate/test_enumerated.py"],
    "distributed/*.py": ["distributed/test_shard.py", "distributed/test_ranks.py", "distributed/test_training_over_ranks.py"],
    "vi/ranks.py": ["distributed/test_training_over_ranks.py"],
    # Every family: its samplers against its own density, its support and bijection, its log density in C against torch.
    "distributions/*.py": [
        "distributions/test_families.py",
        "distributions/test_samplers.py",
        "compiler/native/test_densities.py",
    ],
    "gp/*.py": ["gp/test_gp.py"],
    "handlers/*.py": ["handlers/test_contract.py"],
    "handlers/lift/*.py": ["handlers/lift/test_rules.py", "handlers/lift/test_composition.py"],
    "infer/*.py": ["test_public.py"],
    "networks/dynamics.py": ["networks/test_sgmcmc.py"],
    "networks/preconditioner.py": ["networks/test_sgmcmc.py"],
    "networks/target.py": ["networks/test_sgmcmc.py", "networks/test_swag.py"],
    "ode/dormand_prince.py": ["ode/test_odeint.py"],
    "optimise/ggn/*.py": ["optimise/ggn/test_approximate.py"],
    "draws/draws.py": ["posterior/test_posterior.py"],
    "posterior/own_program.py": ["predict/test_predictive.py", "posterior/test_posterior.py"],
    "posterior/saving.py": ["posterior/test_posterior.py", "draws/test_run_store.py"],
    "io/zarr_metadata.py": ["io/test_zarr_store.py", "io/test_files.py"],
    "predict/at_draw.py": ["predict/test_predictive.py"],
    "predict/free_sizes.py": ["predict/test_shipped_ensemble.py"],
    "predict/given_draws.py": ["predict/test_predictive.py"],
    "predict/network_draws.py": ["predict/test_module_ensemble.py"],
    "predict/network_outputs.py": ["predict/test_shipped_ensemble.py"],
    "predict/scores.py": ["predict/test_log_likelihood.py", "predict/test_log_prior.py"],
    "predict/stacked_network.py": ["predict/test_shipped_ensemble.py"],
    "studies/study.py": ["studies/test_many.py"],
    "studies/ladder_result.py": ["studies/test_ladder.py"],
    "studies/cross_validation.py": ["studies/test_cross_validate.py"],
    "studies/again.py": ["studies/test_sbc.py"],
    "studies/fold_fits.py": ["studies/test_cross_validate.py", "studies/test_compare.py"],
    "studies/uniformity.py": ["studies/test_sbc_result.py"],
    "studies/hold_out.py": ["studies/test_cross_validate.py"],
    "training/*.py": ["training/test_step.py", "vi/test_engines.py", "vi/test_svi.py"],
    # Every file of the kernels is a part of a transition, which C and NumPy make together.
    "mcmc/kernel/*.py": ["mcmc/kernel/test_twin.py", "mcmc/kernel/test_invariance.py"],
    "mcmc/sweeps.py": ["mcmc/test_discrete_gibbs.py", "mcmc/kernel/test_gibbs.py"],
    "density/backwards.py": ["posterior/test_discrete.py", "mcmc/test_discrete_gibbs.py"],
    "density/starting_point.py": ["density/test_init_values.py", "density/test_log_density.py", "mcmc/test_chain_starts.py"],
    "density/whole.py": ["mcmc/test_discrete_gibbs.py", "mcmc/kernel/test_gibbs.py"],
    "handlers/enumerate/step_pattern.py": ["handlers/enumerate/test_steps.py"],
    "handlers/enumerate/held.py": ["mcmc/test_discrete_gibbs.py"],
    "mcmc/coordinates.py": ["studies/test_reparam_search.py"],
    "mcmc/pilots.py": ["studies/test_reparam_search.py"],
    "mcmc/first_state.py": ["mcmc/test_mcmc.py"],
    "mcmc/other_libraries.py": ["common/test_other_libraries.py"],
    "mcmc/hmc.py": ["mcmc/test_mcmc.py", "mcmc/kernel/test_twin.py"],
    "mcmc/walnuts.py": ["mcmc/test_mcmc.py", "mcmc/kernel/test_twin.py"],
    "mcmc/kernel_chain.py": ["mcmc/test_chain_pool.py", "mcmc/test_run.py", "mcmc/test_stored_run.py"],
    "mcmc/kernel_settings.py": ["mcmc/test_nuts.py", "mcmc/test_mcmc.py"],
    "mcmc/launch.py": ["mcmc/test_mcmc.py", "mcmc/test_stored_run.py"],
    "mcmc/trace.py": ["mcmc/test_to_posterior.py"],
    # Each guide, and each bound, is a row.
    "vi/autoguide/*.py": ["vi/test_engines.py", "vi/test_conjugate.py"],
    "vi/*.py": ["vi/test_engines.py", "vi/test_elbo.py"],
}

MODULES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if path.name != "__init__.py")


def own_test(module: str) -> Path:
    path = Path(module)
    return TESTS / path.parent / f"test_{path.name}"


def covering(module: str) -> list[str]:
    return [test for pattern, tests in COVERED.items() if fnmatch(module, pattern) for test in tests]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_test(module: str) -> None:
    tests = covering(module)
    if own_test(module).exists():
        exact = [pattern for pattern in COVERED if pattern == module]
        assert not exact, f"{module} has a test file of its own: leave it out of COVERED"
        return
    assert tests, f"write {own_test(module).relative_to(ROOT)}, or list {module} with the table that covers it"


@pytest.mark.parametrize("pattern", COVERED)
def test_what_is_listed_exists(pattern: str) -> None:
    assert any(fnmatch(module, pattern) for module in MODULES), f"no module is {pattern}"
    for test in COVERED[pattern]:
        assert (TESTS / test).exists(), test
        assert re.search(r"^(class|def) test_|^    def test_|^def test_", (TESTS / test).read_text(), re.MULTILINE), test


def test_no_test_imports_a_test() -> None:
    """What tests share lies in `tests/support/`, or beside them in a file that is no test."""
    for path in TESTS.rglob("*.py"):
        found = re.findall(r"^\s*(?:from|import) ((?:tests\.|\.)[\w.]*\btest_\w+)", path.read_text(), re.MULTILINE)
        found = [name for name in found if name.rpartition(".")[2] != path.stem]  # a child process that is given its own parent
        assert not found, f"{path.relative_to(ROOT)} imports {found}"
