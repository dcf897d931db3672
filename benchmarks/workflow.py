r"""What the calls around sampling cost beside doing the same by hand, in CPU seconds of the process.

- **ladder**: `Ladder` beside NUTS alone, 4 × (1000 + 1000). Where an approximation is enough it may cost less, elsewhere more.
- **reprior**: `posterior.reprior({…})` beside a run of the program with the other prior.
- **SBC**: 50 simulations beside a loop that simulates, calls `MCMC.run`, and counts ranks.
- **leave one out**: `cross_validate` beside a loop that fits all data but one, for each.

The last column says how far both answers are apart: means in posterior sds; of SBC the mean rank, and of leaving one out the
sum, in standard errors. Coordinates and forecasts have benchmarks of their own, `benchmarks.reparam` and `benchmarks.forecast`.
`large` is a ladder for a logistic regression with 20,000 rows, where a gradient is dear; it runs only where it is named.

    python -m benchmarks.workflow ladder reprior
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from benchmarks import sursum_models

RUNS = 3
SIMULATIONS = 50
Row = tuple[str, float, float, str]


def regression(x: Tensor, y: Tensor) -> None:
    slope, level = su.sample("slope", dist.Normal(0.0, 10.0)), su.sample("level", dist.Normal(0.0, 10.0))
    sd = su.sample("sd", dist.HalfNormal(5.0))
    with su.plate("data", len(x)):
        su.sample("y", dist.Normal(level + slope * x, sd), obs=y)


def schools(sd: Tensor, y: Tensor) -> None:
    """The eight schools without their effects: each is observed with its own error and the spread between schools."""
    mu, tau = su.sample("mu", dist.Normal(0.0, 5.0)), su.sample("tau", dist.HalfCauchy(5.0))
    with su.plate("schools", len(y)):
        su.sample("y", dist.Normal(mu, (sd**2 + tau**2).sqrt()), obs=y)


SD = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
EFFECT = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])


def line() -> tuple[Tensor, Tensor]:
    x = torch.linspace(-1.0, 1.0, 200)
    return x, 1.0 + 2.0 * x + torch.randn(200, generator=torch.Generator().manual_seed(0))


def sampled(model: Callable[..., Any], *args: Any, **settings: Any) -> su.Posterior:
    return su.infer.MCMC(su.infer.NUTS(model), progress=False, **settings).run(*args)


def apart(one: su.Posterior, other: su.Posterior) -> str:
    """The largest difference of two means, in sds."""
    names = [name for name in one.latents if name in other]
    far = max(float(((one[n].mean((0, 1)) - other[n].mean((0, 1))).abs() / other[n].std((0, 1))).max()) for n in names)
    return f"{far:.2f}"


OWN: dict[str, Callable[[], tuple[Callable[..., Any], tuple[Tensor, Tensor]]]] = {
    "regression": lambda: (regression, line()),
    "logistic": lambda: (logistic, many_rows()),
}


def ladder(names: Sequence[str] = ("regression", "eight_schools", "radon"), runs: int = RUNS) -> Iterator[Row]:
    torch.set_default_dtype(torch.float64)
    for name in names:
        program, args = OWN[name]() if name in OWN else sursum_models.load(name)

        def climb(program: Any = program, args: Any = args) -> Any:
            return su.infer.Ladder(program, seed=0, progress=False).run(*args)

        def by_hand(program: Any = program, args: Any = args) -> Any:
            return sampled(program, *args, seed=1)

        ours, theirs, found, alone = compared(climb, by_hand, runs)
        yield f"ladder, {name}: ends at {found.rungs[-1].method}", ours, theirs, apart(found.posterior, alone)


def logistic(x: Tensor, y: Tensor) -> None:
    weights = su.sample("weights", dist.Normal(torch.zeros(x.shape[1]), 2.0).to_event(1))
    level = su.sample("level", dist.Normal(0.0, 5.0))
    with su.plate("data", len(x)):
        su.sample("y", dist.Bernoulli(logits=level + x @ weights), obs=y)


def many_rows() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 10, generator=rng)
    return x, torch.bernoulli((x @ torch.linspace(-1.0, 1.0, 10) + 0.5).sigmoid(), generator=rng)


def large() -> Iterator[Row]:
    yield from ladder(["logistic"], runs=1)


def reprior() -> Iterator[Row]:
    posterior, prior = sampled(regression, *line(), seed=0), {"slope": dist.Normal(0.0, 1.0)}
    ours, theirs, found, fresh = compared(
        lambda: posterior.reprior(prior), lambda: sampled(su.reprior(regression, prior), *line(), seed=1)
    )
    yield "reprior, regression", ours, theirs, apart(found, fresh)


def calibration() -> Iterator[Row]:
    settings = {"num_warmup": 500, "num_samples": 500, "num_chains": 2}

    def by_hand() -> Tensor:
        simulate = su.infer.Predictive(su.uncondition(schools), num_samples=SIMULATIONS, seed=2, progress=False)(SD, EFFECT)
        ranks = []
        for k in range(SIMULATIONS):
            posterior = sampled(schools, SD, simulate["y"][k], seed=k, **settings)
            draws = posterior["mu"].flatten()[torch.linspace(0, 999, 99).round().long()]
            ranks.append((draws < simulate["mu"][k]).sum())
        return torch.stack(ranks)

    sbc = su.infer.SBC(schools, num_simulations=SIMULATIONS, seed=0, progress=False, **settings)
    ours, theirs, found, ranks = compared(lambda: sbc.run(SD, EFFECT), by_hand, runs=1)
    z = (found.ranks["mu"].mean() - ranks.double().mean()) / (100 / 12**0.5 * (2 / SIMULATIONS) ** 0.5)
    yield f"SBC, {SIMULATIONS} simulations", ours, theirs, f"{abs(float(z)):.2f} errors"


def leave_one_out() -> Iterator[Row]:
    def by_hand() -> Tensor:
        scores = []
        for k in range(8):
            rest = torch.arange(8) != k
            posterior = sampled(schools, SD[rest], EFFECT[rest], seed=k)
            spread = (SD[k] ** 2 + posterior["tau"] ** 2).sqrt()
            log_p = torch.distributions.Normal(posterior["mu"], spread).log_prob(EFFECT[k].double()).flatten()
            scores.append(log_p.logsumexp(0) - np.log(len(log_p)))
        return torch.stack(scores)

    ours, theirs, found, scores = compared(
        lambda: su.infer.cross_validate(schools, SD, EFFECT, plate="schools", seed=0, progress=False), by_hand, runs=1
    )
    yield "leave one out, eight schools", ours, theirs, f"{abs(found.elpd - float(scores.sum())) / found.se:.2f} errors"


def compared(ours: Callable[[], Any], theirs: Callable[[], Any], runs: int = RUNS) -> tuple[float, float, Any, Any]:
    """Medians of CPU seconds, in turn, after a run of each that compiles; and what both found."""
    found, other = ours(), theirs()
    seconds: tuple[list[float], list[float]] = [], []
    for _ in range(runs):
        for call, kept in zip((ours, theirs), seconds, strict=True):
            began = time.process_time()
            call()
            kept.append(time.process_time() - began)
    return median(seconds[0]), median(seconds[1]), found, other


ROWS = {"ladder": ladder, "reprior": reprior, "SBC": calibration, "loo": leave_one_out, "large": large}


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print("| what | one call, CPU s | by hand, CPU s | share | apart |\n|---|---|---|---|---|")
    for name in names or [name for name in ROWS if name != "large"]:
        for what, ours, theirs, said in ROWS[name]():
            print(f"| {what} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} | {said} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
