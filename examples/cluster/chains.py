"""Eight chains of a hierarchical model, one a worker of a Ray cluster.

    python examples/cluster/chains.py                            # a cluster on this machine, which Ray starts
    sbatch examples/cluster/chains.sbatch                        # SLURM
    kubectl apply -f examples/cluster/chains.yaml                # Kubernetes, by KubeRay

The store is on a disk that the process which runs this script sees. After an interruption the script goes on from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist


def schools(effect: Tensor, error: Tensor) -> None:
    """Effects of coaching in schools, which have a common mean and spread."""
    mean = su.sample("mean", dist.Normal(0.0, 5.0))
    spread = su.sample("spread", dist.HalfCauchy(5.0))
    with su.plate("school", len(effect)):
        size = su.sample("size", dist.Normal(0.0, 1.0))
        su.sample("effect", dist.Normal(mean + spread * size, error), obs=effect)


def main() -> None:
    """Sample, and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", help='of the cluster; "auto" for the one that this machine belongs to')
    parser.add_argument("--store", type=Path, default=Path("chains.zarr"))
    parser.add_argument("--chains", type=int, default=8)
    parser.add_argument("--draws", type=int, default=1000)
    given = parser.parse_args()
    effect = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    error = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    mcmc = su.infer.MCMC(
        su.infer.NUTS(schools),
        num_samples=given.draws,
        num_chains=given.chains,
        seed=0,
        on=su.cluster.Ray(given.address),
        store=given.store,
    )
    if given.store.exists():
        posterior = mcmc.resume(given.store, effect, error)
    else:
        posterior = mcmc.run(effect, error)
    print(posterior.summary())


if __name__ == "__main__":
    main()
