"""A regression on many rows, which are divided over the ranks of `torchrun`.

    python examples/cluster/rows.py                              # over the cores of this machine
    torchrun --nproc-per-node 2 examples/cluster/rows.py         # over ranks
    sbatch examples/cluster/rows.sbatch                          # SLURM

Rank 0 samples and decides, the others evaluate their rows; the draws are the same on all of them.
"""

from __future__ import annotations

import argparse
import os

import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist

TRUE = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)


def simulate(rows: int) -> tuple[Tensor, Tensor]:
    """Data of the regression: the same on every rank, by the seed."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 3, generator=rng, dtype=torch.float64)
    return x, x @ TRUE + torch.randn(rows, generator=rng, dtype=torch.float64)


def regression(x: Tensor, y: Tensor) -> None:
    """A linear regression with unknown noise."""
    slopes = su.sample("slopes", dist.Normal(torch.zeros(3, dtype=torch.float64), 2.0).to_event(1))
    noise = su.sample("noise", dist.HalfNormal(1.0))
    with su.plate("rows", len(y)):
        su.sample("y", dist.Normal(x @ slopes, noise), obs=y)


def main() -> None:
    """Sample, and print the summary once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--draws", type=int, default=500)
    given = parser.parse_args()
    if "WORLD_SIZE" in os.environ:
        torch.distributed.init_process_group("gloo")
    mcmc = su.infer.MCMC(
        su.infer.NUTS(su.distributed.shard(regression, plate="rows")),
        num_warmup=given.draws,
        num_samples=given.draws,
        num_chains=2,
        seed=0,
    )
    posterior = mcmc.run(*simulate(given.rows))
    if os.environ.get("RANK", "0") == "0":
        print(posterior.summary())
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
