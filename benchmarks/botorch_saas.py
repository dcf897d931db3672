"""BoTorch's SAAS model fitted by sursum and by BoTorch's own `fit_fully_bayesian_model_nuts`, in one run, in turn.

    python -m benchmarks.botorch_saas              # from the repository's root; needs botorch[fully_bayesian]

Both draw what BoTorch asks for: one chain of 512 + 256 draws with trees of depth 6, from 50 points of 20 inputs. The wall time
includes compilation on both sides; effective draws are the smallest of the logarithms of all unknowns, computed the same way.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from tests.support.examples import load

import sursum as su
from sursum.draws.ess_rhat import mixing

WARMUP, DRAWS, DEPTH = 512, 256, 6


def smallest(draws: dict[str, torch.Tensor]) -> float:
    """The smallest effective number of draws of any logarithm (of the mean itself)."""
    found = []
    for name, value in draws.items():
        rows = value.reshape(len(value), -1).double()
        rows = rows if name == "mean" else rows.log()
        found.append(float(np.min(mixing(rows.numpy()[None]).ess_bulk)))
    return float(np.min(found))


def ours(data: Any, seed: int) -> dict[str, torch.Tensor]:
    kernel = su.infer.NUTS(load("sparse_gp").lifted(), max_tree_depth=DEPTH)
    mcmc = su.infer.MCMC(kernel, num_warmup=WARMUP, num_samples=DRAWS, num_chains=1, seed=seed, progress=False)
    found = mcmc.run(data.x, data.y)
    return {name: found[name][0] for name in ("rho", "tau", "amplitude", "noise", "mean")}


def theirs(data: Any, seed: int) -> dict[str, torch.Tensor]:
    from botorch.fit import fit_fully_bayesian_model_nuts
    from botorch.models.fully_bayesian import SaasFullyBayesianSingleTaskGP

    model = SaasFullyBayesianSingleTaskGP(data.x, data.y[:, None])
    kept: dict[str, torch.Tensor] = {}
    load_samples = model.load_mcmc_samples
    model.load_mcmc_samples = lambda samples: kept.update(samples) or load_samples(samples)
    fit_fully_bayesian_model_nuts(
        model, max_tree_depth=DEPTH, warmup_steps=WARMUP, num_samples=DRAWS, thinning=1, disable_progbar=True
    )
    return {name: torch.as_tensor(value) for name, value in kept.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data = load("sparse_gp").measure()
    for repeat in range(chosen.repeats):
        for name, fit in (("sursum", ours), ("BoTorch (NumPyro)", theirs)):
            began, cpu = time.perf_counter(), time.process_time()
            draws = fit(data, repeat)
            wall, cpu = time.perf_counter() - began, time.process_time() - cpu
            least = smallest(draws)
            print(f"{name:18}  {wall:6.1f} s ({cpu:6.1f} s of CPU)  smallest ESS {least:5.0f}, {least / wall:6.1f} a second")


if __name__ == "__main__":
    main()
