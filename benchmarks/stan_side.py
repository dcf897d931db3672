"""Stan's side of a benchmark, by PyStan: one model in this process, figures as JSON.

The programs are in `stan/`. The gradient alone is not measured: PyStan's is a request to a server of its own.
"""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import sys  # noqa: E402
from importlib.metadata import EntryPoint, entry_points  # noqa: E402
from pathlib import Path  # noqa: E402
from types import ModuleType  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

# PyStan looks for its plugins by a module that setuptools has no more.
_plugins: Any = ModuleType("pkg_resources")
_plugins.EntryPoint, _plugins.iter_entry_points = EntryPoint, entry_points
sys.modules.setdefault("pkg_resources", _plugins)

import stan  # noqa: E402

from benchmarks import models, timing  # noqa: E402

PROGRAMS = Path(__file__).parent / "stan"
#: Names of data that Stan has for functions of its own.
NAMES = {"floor": "level"}


def program(model: str) -> str:
    """The model's program; the two logistic regressions share one."""
    return (PROGRAMS / f"{model.removesuffix('_small').removesuffix('_large')}.stan").read_text()


def data(model: str) -> dict[str, Any]:
    """The model's data, and every size that some program asks for; indices count from one."""
    arrays = {NAMES.get(name, name): value for name, value in models.MODELS[model].data().items()}
    if model in ("poisson", "logistic_small", "logistic_large"):
        arrays["y"] = arrays["y"].astype(np.int64)
    for name in ("y",) if model == "markov" else ("county",) if "county" in arrays else ():
        arrays[name] = arrays[name] + 1
    sizes = {"N": len(next(iter(arrays.values()))), "G": models.GROUPS, "H": models.HIDDEN}
    if "x" in arrays and arrays["x"].ndim == 2:
        sizes["K"] = arrays["x"].shape[1]
    if model == "markov":
        sizes |= {"S": models.STATES, "M": models.SYMBOLS, "concentration": models.concentration()}
    return arrays | sizes


def by_chain(fit: Any, name: str, chains: int) -> models.Array:
    """A parameter's draws, (chain, draw, *shape)."""
    found = np.moveaxis(np.asarray(fit[name], dtype=np.float64), -1, 0)
    return found.reshape(chains, -1, *found.shape[1:])


def main() -> None:
    options = timing.options(__doc__).parse_args()
    values = data(options.model)

    def built(seed: int) -> Any:
        return stan.build(program(options.model), data=values, random_seed=seed)

    compiling, model = timing.timed(lambda: built(1))

    def sample(posterior: Any, chains: int, warmup: int, draws: int) -> Any:
        return posterior.sample(num_chains=chains, num_warmup=warmup, num_samples=draws, delta=0.8)

    sample(model, timing.CHAINS, options.warmup, options.draws)
    cold = time.perf_counter() - _STARTED
    again = built(2)  # compiled already; PyStan gives equal draws to equal seeds without drawing
    warm, fit = timing.timed(lambda: sample(again, timing.CHAINS, options.warmup, options.draws))
    samples = {name: by_chain(fit, name, timing.CHAINS) for name in again.param_names}

    warmup = min(options.warmup, 500)
    one = built(3)
    few, short = timing.timed(lambda: sample(one, 1, warmup, options.draws))
    extra = timing.extra_draws(few / (warmup + options.draws))
    many, long = timing.timed(lambda: sample(one, 1, warmup, options.draws + extra))
    steps = float(long["n_leapfrog__"].sum() - short["n_leapfrog__"].sum())
    flat = np.concatenate([value.reshape(*value.shape[:2], -1) for value in samples.values()], axis=-1)
    timing.report(
        gradient=None,
        leapfrog=timing.microseconds(timing.slope(few, many, steps)),
        draw=timing.microseconds(timing.slope(few, many, extra)),
        compile=compiling,
        **timing.totals(cold, warm, options.warmup, options.draws),
        rate=timing.smallest_ess(flat) / warm,
        moments=timing.moments(options.model, samples),
        steps=float(fit["n_leapfrog__"].mean()),
    )


if __name__ == "__main__":
    main()
