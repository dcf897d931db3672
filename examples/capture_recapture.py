"""Birds that are ringed and seen again: how many survive a year, and how likely is one that lives to be seen?

A bird that is not seen may be dead, or alive and not seen. Whether each is alive in each year is a discrete site in a scan over
the years, inside a plate of birds; the density sums it out, and `discrete_probabilities` says who lives (Cormack–Jolly–Seber).

    python examples/capture_recapture.py    # prints survival and detection, writes out/capture_recapture.png
"""

from __future__ import annotations

import torch
from tools import options, picture
from torch import Tensor

import sursum as su
import sursum.distributions as dist

SURVIVES, SEEN = 0.7, 0.5
BIRDS, YEARS = 120, 8


def simulate(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Who is alive and who is seen, (year, bird); a bird is ringed, and seen, in the first year that it is alive."""
    generator = torch.Generator().manual_seed(seed)
    ringed = torch.randint(0, YEARS - 1, (BIRDS,), generator=generator)
    alive, seen = torch.zeros(YEARS, BIRDS), torch.zeros(YEARS, BIRDS)
    for year in range(YEARS):
        lives = torch.rand(BIRDS, generator=generator) < SURVIVES
        found = torch.rand(BIRDS, generator=generator) < SEEN
        before = alive[year - 1] if year else torch.zeros(BIRDS)
        alive[year] = torch.where(ringed == year, 1.0, before * lives)
        seen[year] = torch.where(ringed == year, 1.0, alive[year] * found)
    return alive, seen


def birds(seen: Tensor) -> None:
    """The program: after the year in which it was ringed a bird survives or not, and one that lives is seen or not."""
    survives = su.sample("survives", dist.Beta(1.0, 1.0))
    detected = su.sample("detected", dist.Beta(1.0, 1.0))
    before = seen.cumsum(0) - seen > 0  # ringed in an earlier year

    with su.plate("bird", seen.shape[1]):

        def year(alive: Tensor, row: tuple[Tensor, Tensor]) -> tuple[Tensor, None]:
            seen, known = row
            alive = su.sample("alive", dist.Bernoulli(torch.where(known, survives * alive, 1.0)))
            with su.mask(mask=known):
                su.sample("seen", dist.Bernoulli(detected * alive), obs=seen)
            return alive, None

        su.scan(year, torch.ones(seen.shape[1]), (seen, before))


def posterior(seen: Tensor, draws: int = 1000) -> su.Posterior:
    """Survival and detection; who is alive is summed out."""
    return su.infer.MCMC(su.infer.NUTS(birds), num_warmup=draws, num_samples=draws, num_chains=4, seed=0).run(seen)


def main() -> su.Posterior:
    chosen = options(__doc__)
    alive, seen = simulate()
    found = posterior(seen, chosen.draws)
    print(found.summary())
    ringed = seen.cumsum(0) > 0
    lives = su.infer.discrete_probabilities(found)["alive"][..., 1].mean((0, 1)) * ringed
    print(f"\nIn the last year {float(lives[-1].sum()):.0f} birds are alive, of {int(ringed[-1].sum())} that were ringed;")
    print(f"in truth {int(alive[-1].sum())} are, and {int(seen[-1].sum())} were seen.")
    with picture(chosen.out / "capture_recapture.png", panels=2, size=(11.0, 4.5)) as (left, right):
        for name, truth, colour in (("survives", SURVIVES, "C0"), ("detected", SEEN, "C1")):
            left.hist(found[name].flatten().numpy(), bins=40, density=True, color=colour, alpha=0.5, label=name)
            left.axvline(truth, color=colour, linestyle="--", linewidth=1)
        left.set(xlabel="probability (in a year); dashed: truth", ylabel="posterior density")
        left.legend(frameon=False)
        years = range(1, YEARS + 1)
        right.bar(years, seen.sum(1).numpy(), color="0.8", label="seen")
        right.plot(years, lives.sum(1).numpy(), color="C0", marker="o", label="alive: posterior mean")
        right.plot(years, alive.sum(1).numpy(), color="0.3", linestyle="--", label="alive: truth")
        right.set(xlabel="year", ylabel="birds (of those that were ringed)")
        right.legend(frameon=False)
    return found


if __name__ == "__main__":
    main()
