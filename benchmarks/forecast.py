"""How good the forecast of `su.report(…).cost()` is: steps to an effective size of 400, forecast and needed, by model.

Steps are counted and not timed, so that the load of the machine does not matter.

    python -m benchmarks.forecast eight_schools radon
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import torch

import sursum as su
from benchmarks import sursum_models
from benchmarks.timing import smallest_ess


def main(names: list[str]) -> None:
    print(f"{'model':<18}{'steps a draw':>16}{'ESS a draw':>16}{'forecast / needed':>20}")
    torch.set_default_dtype(torch.float64)
    for name in names or ["eight_schools", "radon", "logistic_small", "volatility", "correlated"]:
        program, args = sursum_models.load(name)
        cost = su.report(program, *args).cost()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            posterior = su.infer.MCMC(su.infer.NUTS(program), seed=1, progress=False).run(*args)
        steps = float(np.mean(posterior.stats["n_steps"]))
        ess = smallest_ess(np.asarray(posterior.unconstrained)) / posterior.num_samples / posterior.num_chains
        forecast = (1000 + 100 / cost.ess_per_draw) * cost.steps_per_draw
        needed = (1000 + 100 / min(ess, 1.0)) * steps
        print(
            f"{name:<18}{cost.steps_per_draw:>8.1f}{steps:>8.1f}{cost.ess_per_draw:>8.2f}{ess:>8.2f}{forecast / needed:>20.2f}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
