"""Pyro's side of a benchmark: one model in this process, one chain (the others are extrapolated), figures as JSON."""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import warnings  # noqa: E402
from typing import Any  # noqa: E402

warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import pyro  # noqa: E402
import torch  # noqa: E402
from pyro.infer import MCMC, NUTS  # noqa: E402

from benchmarks import models, timing  # noqa: E402
from benchmarks.pyro_models import PROGRAMS  # noqa: E402

#: Chains that run one after the other on each of two cores.
ROUNDS = timing.CHAINS / 2


def main() -> None:
    options = timing.options(__doc__).parse_args()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    data = tuple(torch.from_numpy(part) for part in models.MODELS[options.model].data().values())
    pyro.set_rng_seed(0)
    kernel = NUTS(PROGRAMS[options.model], target_accept_prob=0.8)
    kernel.setup(1, *data)
    potential, calls = kernel.potential_fn, 0

    def counted(q: dict[str, Any]) -> Any:
        nonlocal calls
        calls += 1
        return potential(q)

    ready = time.perf_counter() - _STARTED
    kernel = NUTS(potential_fn=counted, target_accept_prob=0.8)
    start = {name: value.detach() for name, value in _starting(options.model, data).items()}
    mcmc = MCMC(kernel, num_samples=options.draws, warmup_steps=options.warmup, initial_params=start, disable_progbar=True)
    seconds, _ = timing.timed(mcmc.run)
    warm = seconds * ROUNDS
    timing.report(
        gradient=_gradient_seconds(potential, start) * 1e6,
        leapfrog=seconds / calls * 1e6,
        draw=seconds / (options.warmup + options.draws) * 1e6,
        compile=None,
        **timing.totals(ready + warm, warm, options.warmup, options.draws) | {"extrapolated": True},
        rate=None,
        moments=None,
        steps=calls / (options.warmup + options.draws),
    )


def _starting(model: str, data: tuple[Any, ...]) -> dict[str, Any]:
    """Unconstrained values at which a chain of the model starts."""
    kernel = NUTS(PROGRAMS[model])
    kernel.setup(1, *data)
    found: dict[str, Any] = kernel.initial_params
    return found


def _gradient_seconds(potential: Any, start: dict[str, Any]) -> float:
    """Seconds of a value and gradient, called from Python."""

    def one() -> None:
        leaves = [value.clone().requires_grad_() for value in start.values()]
        torch.autograd.grad(potential(dict(zip(start, leaves, strict=True))), leaves)

    one()
    calls = max(3, int(0.3 / max(timing.timed(one)[0], 1e-6)))
    return min(float(np.mean([timing.timed(one)[0] for _ in range(calls)])) for _ in range(3))


if __name__ == "__main__":
    main()
