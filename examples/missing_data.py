"""Missing values as parameters: a regression in which a third of one predictor is missing, and not by chance.

The data are simulated, so that the truth is known. Who has a high outcome is less likely to have answered: those who did
answer give a wrong slope. The program imputes by parameters, one for each missing value; lifted, they have a
distribution that the rest of the data inform, and the slope comes out right.

    python examples/missing_data.py     # prints both slopes, writes out/missing_data.png
"""

from __future__ import annotations

import numpy as np
import torch
from tools import options, picture
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints

PEOPLE, SLOPE = 300, 1.0


def simulate(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """The predictor x with NaN where it is missing, the outcome y, and the predictor as it was."""
    generator = torch.Generator().manual_seed(seed)
    x, noise, chance = torch.randn(3, PEOPLE, generator=generator)
    y = SLOPE * x + noise
    return torch.where(chance < 1.5 * y - 0.7, torch.nan, x), y, x


def regression(x: Tensor, y: Tensor, missing: Tensor) -> None:
    """The program: a line, and a parameter for each missing value."""
    filled = x.index_put((missing,), su.param("x_missing", torch.zeros(len(missing))))
    centre = su.param("centre", torch.tensor(0.0))
    spread = su.param("spread", torch.tensor(1.0), constraint=constraints.positive)
    intercept, slope = su.param("intercept", torch.tensor(0.0)), su.param("slope", torch.tensor(0.0))
    sigma = su.param("sigma", torch.tensor(1.0), constraint=constraints.positive)
    su.factor("x", dist.Normal(centre, spread).log_prob(filled).sum())
    with su.plate("person", len(y)):
        su.sample("y", dist.Normal(intercept + slope * filled, sigma), obs=y)


def posterior(x: Tensor, y: Tensor, draws: int = 1000) -> su.Posterior:
    """`x` may hold NaN: what is missing has a flat prior here, since the program says how x is distributed."""
    priors = {
        "x_missing": su.priors.flat,
        "s*": dist.HalfNormal(2.0),
        "slope": dist.Normal(0.0, 2.0),
        "*": dist.Normal(0.0, 2.0),
    }
    kernel = su.infer.NUTS(su.lift(regression, priors))
    missing = x.isnan().nonzero().squeeze(-1)
    mcmc = su.infer.MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=4, seed=0)
    return mcmc.run(x.nan_to_num(0.0), y, missing)


def complete_cases(x: Tensor, y: Tensor) -> tuple[float, float]:
    """The slope of least squares on those who answered, and its standard error."""
    known = ~x.isnan()
    a, b = x[known] - x[known].mean(), y[known] - y[known].mean()
    slope = (a * b).sum() / a.square().sum()
    return float(slope), float(((b - slope * a).square().sum() / (len(a) - 2) / a.square().sum()).sqrt())


def main() -> su.Posterior:
    chosen = options(__doc__)
    x, y, _ = simulate()
    found = posterior(x, y, chosen.draws)
    slope, error = complete_cases(x, y)
    print(found.summary(["intercept", "slope", "sigma", "centre", "spread"]))
    print(f"\n{int(x.isnan().sum())} of {PEOPLE} values are missing. The true slope is {SLOPE}.")
    imputed = found["slope"]
    print(
        f"Slope of those who answered: {slope:.2f} ± {error:.2f}; with imputation: {imputed.mean():.2f} ± {imputed.std():.2f}"
    )

    missing = x.isnan()
    low, middle, high = np.quantile(found["x_missing"].flatten(0, 1).numpy(), [0.05, 0.5, 0.95], axis=0)
    with picture(chosen.out / "missing_data.png", panels=2, size=(11.0, 5.0)) as (left, right):
        left.plot(x, y, "o", color="0.5", markersize=3, label="answered")
        left.plot(middle, y[missing], "o", color="C0", markersize=3, label="missing: posterior median")
        left.hlines(y[missing], low, high, color="C0", alpha=0.12, linewidth=1)
        left.set_xlabel("x (standard deviations)")
        left.set_ylabel("y (standard deviations of the noise)")
        left.legend(frameon=False)
        left.set_title("What is imputed, with 90 % intervals")
        right.hist(found["slope"].flatten().numpy(), bins=40, density=True, color="C0", alpha=0.7, label="posterior, imputed")
        right.axvspan(slope - 1.645 * error, slope + 1.645 * error, color="0.8", label="those who answered: 90 % interval")
        right.axvline(SLOPE, color="C3", linestyle="--", label="true slope")
        right.set_xlabel("slope (y per x)")
        right.set_ylabel("posterior density")
        right.set_ylim(top=1.4 * right.get_ylim()[1])
        right.legend(frameon=False, loc="upper left")
        right.set_title("The slope")
    return found


if __name__ == "__main__":
    main()
