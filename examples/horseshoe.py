"""A logistic regression with fifty predictors of which three matter, and a prior that finds them: the regularised horseshoe.

The data are simulated, so that the truth is known. The program is logistic regression as anyone would fit it; the
horseshoe is a function, given to `lift`.

    python examples/horseshoe.py        # prints the coefficients that stand out, writes out/horseshoe.png
"""

from __future__ import annotations

import numpy as np
import torch
from tools import options, picture
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.infer.reparam import LocScaleReparam

PEOPLE, PREDICTORS = 200, 50
TRUTH = torch.zeros(PREDICTORS)
TRUTH[[3, 17, 40]] = torch.tensor([2.0, -2.5, 1.5])


def simulate(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Standardised predictors (200, 50), and yes or no (200,)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(PEOPLE, PREDICTORS, generator=generator)
    return x, torch.bernoulli((x @ TRUTH).sigmoid(), generator=generator)


def logistic(x: Tensor, y: Tensor | None = None) -> None:
    """The program: an intercept and a coefficient for each predictor."""
    intercept = su.param("intercept", torch.tensor(0.0))
    beta = su.param("beta", torch.zeros(x.shape[1]))
    with su.plate("person", len(x)):
        su.sample("y", dist.Bernoulli(logits=intercept + x @ beta), obs=y)


def horseshoe(beta: Tensor) -> dist.Distribution:
    """Most coefficients near zero (scale `tau`), a few far from it (heavy-tailed `lam`), none absurd (`slab`).

    Piironen and Vehtari, "Sparsity information and regularization in the horseshoe and other shrinkage priors" (2017).
    """
    tau = su.sample("tau", dist.HalfCauchy(0.05))
    lam = su.sample("lam", dist.HalfCauchy(torch.ones_like(beta)).to_event(1))
    slab = su.sample("slab", dist.InverseGamma(2.0, 8.0))
    scale = tau * lam * (slab / (slab + (tau * lam).square())).sqrt()
    return dist.Normal(torch.zeros_like(beta), scale).to_event(1)


def posterior(x: Tensor, y: Tensor, draws: int = 1000) -> su.Posterior:
    lifted = su.lift(logistic, {"beta": horseshoe, "intercept": dist.Normal(0.0, 2.0)})
    standardised = su.reparam(lifted, {"beta": LocScaleReparam(0.0)})
    kernel = su.infer.NUTS(standardised, target_accept=0.95)
    return su.infer.MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=4, seed=0).run(x, y)


def main() -> su.Posterior:
    chosen = options(__doc__)
    found = posterior(*simulate(), draws=chosen.draws)
    low, middle, high = np.quantile(found["beta"].flatten(0, 1).numpy(), [0.05, 0.5, 0.95], axis=0)
    print(found.summary(["intercept", "tau", "slab"]))
    print("\nCoefficients whose 90 % interval leaves out zero")
    for k in np.flatnonzero((low > 0) | (high < 0)):
        print(f"  beta[{k}]  {middle[k]:5.2f} ({low[k]:.2f} to {high[k]:.2f}), true value {TRUTH[k]:.1f}")

    with picture(chosen.out / "horseshoe.png") as axes:
        place = np.arange(PREDICTORS)
        axes.axhline(0.0, color="0.7", linewidth=1)
        axes.vlines(place, low, high, color="C0", alpha=0.5, linewidth=2, label="90 % interval")
        axes.plot(place, middle, "o", color="C0", markersize=4, label="posterior median")
        axes.plot(place, TRUTH.numpy(), "_", color="C3", markersize=10, markeredgewidth=2, label="true value")
        axes.set_xlabel("predictor")
        axes.set_ylabel("coefficient (log odds per standard deviation)")
        axes.set_title("Three predictors out of fifty, found by the regularised horseshoe")
        axes.legend(frameon=False)
    return found


if __name__ == "__main__":
    main()
