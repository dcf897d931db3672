"""What other libraries call the options of samplers and of kernels, and what to write here."""

from __future__ import annotations

from collections.abc import Mapping

RUN_OPTIONS: Mapping[str, str] = {
    "chains": "num_chains",
    "n_chains": "num_chains",
    "draws": "num_samples",
    "num_draws": "num_samples",
    "n_samples": "num_samples",
    "iter_sampling": "num_samples",
    "tune": "num_warmup",
    "warmup": "num_warmup",
    "warmup_steps": "num_warmup",
    "burn_in": "num_warmup",
    "iter_warmup": "num_warmup",
    "random_seed": "seed",
    "rng_seed": "seed",
    "rng_key": "a seed is a whole number here: `seed=0`",
    "random_state": "seed",
    "progress_bar": "progress",
    "progressbar": "progress",
    "disable_progbar": "write `progress=False`",
    "initvals": "init",
    "initial_params": "init",
    "init_params": "init",
    "inits": "init",
    "parallel_chains": "cores",
    "mp_context": "chains are threads here, and `cores=` says how many run at once",
    "chain_method": "chains are threads here, and `cores=` says how many run at once",
    "jit_compile": "every density is compiled",
    "thinning": "thin",
    "target_accept": "it is one of the kernel's: `NUTS(model, target_accept=0.9)`",
    "target_accept_prob": "it is one of the kernel's: `NUTS(model, target_accept=0.9)`",
    "adapt_delta": "it is one of the kernel's: `NUTS(model, target_accept=0.9)`",
    "max_tree_depth": "it is one of the kernel's: `NUTS(model, max_tree_depth=10)`",
    "max_treedepth": "it is one of the kernel's: `NUTS(model, max_tree_depth=10)`",
}
"""Options of a run, and ours."""

RUN_ATTRIBUTES: Mapping[str, str] = dict.fromkeys(
    ("get_samples", "get_extra_fields", "samples", "print_summary", "summary", "diagnostics", "posterior", "last_state"),
    "it keeps no draws, and `run` returns them: posterior = mcmc.run(…); posterior['name']; posterior.summary()",
) | {"warmup": "the warm-up is a part of `run`", "sample": "write `run`", "fit": "write `run`"}
"""Attributes that others have on the sampler object."""

KERNEL_OPTIONS: Mapping[str, str] = {
    "target_accept_prob": "target_accept",
    "adapt_delta": "target_accept",
    "accept_prob": "target_accept",
    "max_treedepth": "max_tree_depth",
    "treedepth": "max_tree_depth",
    "step_size": "the warm-up adapts it, and `target_accept=` determines how small it becomes",
    "adapt_step_size": "it is always adapted",
    "adapt_mass_matrix": "it is adapted unless `metric=` gives one",
    "dense_mass": "write `metric='dense'`; by default the warm-up adapts to correlations where it sees them",
    "full_mass": "write `metric='dense'`; by default the warm-up adapts to correlations where it sees them",
    "low_rank": "write `metric='low_rank'`; by default the warm-up adapts to correlations where it sees them",
    "inverse_mass_matrix": "metric",
    "inv_metric": "metric",
    "init_strategy": "where chains start is an option of the run: `MCMC(NUTS(model), init=…)`",
    "jit_compile": "every density is compiled",
    "potential_fn": "give a program; a term of a log density is a `factor` in it",
    "step_scale": "`target_accept=` determines how small steps become",
}
"""Settings of kernels, and ours."""
