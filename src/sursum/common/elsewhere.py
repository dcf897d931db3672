"""Names that are looked up in `sursum` but live elsewhere, or belong to other libraries: errors say what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

_PROGRAM = "a program is a function, whose sites are `su.sample` and `su.param`, and its data are its arguments"
_STORE = "there is no global parameter store: use `svi.params`, or the result of `su.infer.Fit(model).run(…)`"
_SEED = "pass a seed to whatever draws: `su.infer.MCMC(…, seed=0)`, or `su.seed(model, rng_seed=0)`"

THEIRS: Mapping[str, str] = {
    "Model": _PROGRAM,
    "model": _PROGRAM,
    "Data": _PROGRAM,
    "MutableData": _PROGRAM,
    "ConstantData": _PROGRAM,
    "dist": "write `import sursum.distributions as dist`",
    "constraints": "write `from sursum.distributions import constraints`",
    "Deterministic": "write `su.deterministic(name, value)`",
    "Potential": "write `su.factor(name, log_density)`",
    "prng_key": _SEED,
    "rng_seed": _SEED,
    "set_rng_seed": _SEED,
    "get_param_store": _STORE,
    "clear_param_store": _STORE,
    "PyroModule": "write `su.module(name, net)` in a program, or `su.lift(net, prior)`, for any `nn.Module`",
    "PyroSample": "write `su.lift(net, prior)`, for any `nn.Module`",
    "PyroParam": "write `su.param(name, init, constraint=…)`",
    "random_flax_module": "write `su.random_module(name, net, prior)`",
    "sample_prior_predictive": "write `su.infer.Predictive(model, num_samples=1000)(…)`",
    "sample_posterior_predictive": "write `posterior.predict(…)`",
    "find_MAP": "write `su.infer.Fit(model).run(…)`",
    "summary": "write `print(posterior.summary())`",
    "print_summary": "write `print(posterior.summary())`",
    "enable_x64": "densities are computed in double precision already",
    "set_platform": "the device of the tensors determines where a program runs",
    "set_host_device_count": "chains already run in parallel, `su.infer.MCMC(…, cores=4)`",
    "subsample": "write `su.plate(name, size, subsample_size=…)`",
    "barrier": "nothing is lazy here, so there is nothing to force",
    "to_data": "write `posterior.to_arviz()`",
    "ADVI": "write `su.infer.SVI(model, su.infer.autoguide.AutoNormal(model), …)`",
    "TracePredictive": "write `su.infer.Predictive(model, posterior)`",
    "TraceGraph_ELBO": "write `su.infer.Trace_ELBO()`",
    "initialize_model": "write `su.compile(model, …)`",
    "log_density": "write `su.compile(model, …)`, or `su.trace(model).get_trace(…).log_prob_sum()`",
    "compile_density": "write `su.compile(model, …)`",
    "potential_energy": "write `su.compile(model, …)`",
}


def elsewhere(name: str, places: Mapping[str, ModuleType]) -> dict[str, str]:
    """What to write for `name`, by that name; empty if the name is unknown.

    Args:
        places: modules to search, by their name after ``su.``.

    Example:
        >>> import sursum as su
        >>> elsewhere("NUTS", {"optim": su.optim, "infer": su.infer}), elsewhere("summary", {})
        ({'NUTS': 'write `su.infer.NUTS`'}, {'summary': 'write `print(posterior.summary())`'})
    """
    if name in THEIRS:
        return {name: THEIRS[name]}
    return next(({name: f"write `su.{place}.{name}`"} for place, module in places.items() if name in module.__all__), {})
