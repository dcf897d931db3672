"""What a run with `until` loses by stopping where its draws look good: beside runs of a fixed length, over many seeds.

    python -m benchmarks.until [--runs 2000] [--size 100]

The target is a normal in three unknowns, with known mean and variance. For each unknown the error of the mean is divided by
the Monte-Carlo error that the effective size of the same draws promises: squares of these have the mean 1 where the promise
holds. Fixed runs have the mean length of those that stopped, so that what is left is the effect of stopping. Ranks are those
of simulation-based calibration: of exact draws among thirteen of the run's; their variance is compared with that of uniform
ones.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import torch

import sursum as su
import sursum.distributions as dist
from sursum.draws.ess_rhat import mixing
from sursum.infer import MCMC, NUTS, ess, rhat

RANKED = 13


def target() -> None:
    covariance = torch.tensor([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    su.sample("x", dist.MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance))


def measure(density: su.CompiledDensity, seeds: range, **settings: object) -> tuple[np.ndarray, ...]:
    """Errors in units of what is promised, means, mean squares, ranks, each (run, unknown), and lengths."""
    rows, lengths = [], []
    for seed in seeds:
        run = MCMC(NUTS(target), seed=seed, progress=False, num_warmup=200, **settings).prepared(density)
        run.work()
        q = np.asarray(run.silently().unconstrained)
        flat, rng = q.reshape(-1, q.shape[2]), np.random.default_rng([1, seed])
        promised = flat.std(axis=0) / np.sqrt(mixing(q).ess_bulk)
        some = flat[rng.choice(len(flat), RANKED, replace=False)]
        ranks = (some < rng.normal(size=flat.shape[1])).sum(axis=0)
        rows.append([flat.mean(axis=0) / promised, flat.mean(axis=0), (flat**2).mean(axis=0), ranks])
        lengths.append(q.shape[1])
    return (*np.moveaxis(np.array(rows), 1, 0), np.array(lengths))


def said(name: str, errors: np.ndarray, means: np.ndarray, squares: np.ndarray, ranks: np.ndarray, lengths: np.ndarray) -> str:
    def mean(x: np.ndarray) -> str:
        return f"{x.mean():.4f} ± {x.mean(axis=1).std(ddof=1) / np.sqrt(len(x)):.4f}"

    spread = ((ranks - RANKED / 2) ** 2) / (RANKED * (RANKED + 2) / 12)
    figures = {
        "mean square error over promised": errors**2,
        "mean": means,
        "variance": squares,
        "variance of ranks over uniform": spread,
    }
    parts = "; ".join(f"{what} {mean(values)}" for what, values in figures.items())
    return f"{name}: {lengths.mean():.0f} draws of each chain (sd {lengths.std():.0f}); {parts}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--size", type=float, default=100.0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    density = su.compile(target)
    stopped = measure(density, range(options.runs), num_samples=5000, until=ess(options.size) & rhat(1.05))
    print(said(f"until ess({options.size:g}) & rhat(1.05)", *stopped), flush=True)
    fixed = measure(density, range(options.runs, 2 * options.runs), num_samples=round(stopped[-1].mean()))
    print(said("as many draws", *fixed))


if __name__ == "__main__":
    main()
