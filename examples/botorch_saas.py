"""BoTorch's SAAS model, sampled here and loaded there: what `fit_fully_bayesian_model_nuts` does, without NumPyro.

The program is that of `sparse_gp.py`; its draws are what a `SaasFullyBayesianSingleTaskGP` keeps, by other names. The model is
then BoTorch's own: posteriors, acquisition functions and all that takes a model of BoTorch's.

    python examples/botorch_saas.py          # needs botorch; samples, loads, writes out/botorch_saas.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sparse_gp import MATTER, Data, lifted, measure
from tools import options, picture
from torch import Tensor

import sursum as su


def fit(x: Tensor, y: Tensor, draws: int = 256, warmup: int = 512, keep: int = 16, seed: int = 0) -> Any:
    """A `SaasFullyBayesianSingleTaskGP` of points (n, d) in the unit cube and standardised values (n,), with `keep` draws."""
    from botorch.models.fully_bayesian import SaasFullyBayesianSingleTaskGP

    mcmc = su.infer.MCMC(su.infer.NUTS(lifted()), num_warmup=warmup, num_samples=draws, num_chains=1, seed=seed, progress=False)
    found = mcmc.run(x, y)
    chosen = {name: found[name][0, draws % keep :: draws // keep] for name in ("rho", "amplitude", "noise", "mean")}
    model = SaasFullyBayesianSingleTaskGP(x, y[:, None])
    model.load_mcmc_samples(
        {
            "lengthscale": chosen["rho"].rsqrt()[:, None],
            "outputscale": chosen["amplitude"],
            "noise": chosen["noise"][:, None],
            "mean": chosen["mean"],
        }
    )
    return model


def compare(model: Any, data: Data, path: Path) -> float:
    """The picture of what the model predicts at the held-out points; the share of its 90 % intervals that hold the value."""
    with torch.no_grad():
        found = model.posterior(data.x_new, observation_noise=True)
        mean, sd = -found.mixture_mean.squeeze(-1), found.mixture_variance.squeeze(-1).sqrt()
    with picture(path, size=(6.5, 6.0)) as axes:
        axes.errorbar(data.y_new, mean, 1.645 * sd, fmt="o", markersize=3, linewidth=0.6, alpha=0.6)
        axes.plot([-2, 4], [-2, 4], color="0.6", zorder=0)
        axes.set_xlabel("measured (standard deviations of y)")
        axes.set_ylabel("predicted, with 90 % intervals")
        axes.set_title("A SAAS model of BoTorch's with draws of sursum's:\n500 held-out points of 20 inputs")
    return float(((data.y_new - mean).abs() < 1.645 * sd).double().mean())


def main() -> Tensor:
    from botorch.acquisition import qLogExpectedImprovement
    from botorch.optim import optimize_acqf

    chosen = options(__doc__)
    data = measure()
    model = fit(data.x, -data.y, min(chosen.draws, 256))
    print(f"90 % intervals hold {100 * compare(model, data, chosen.out / 'botorch_saas.png'):.0f} % of the held-out points")
    bounds = torch.tensor([[0.0], [1.0]], dtype=data.x.dtype).expand(2, data.x.shape[1])
    torch.manual_seed(0)
    point, gain = optimize_acqf(
        qLogExpectedImprovement(model, best_f=-data.y.min()), bounds, q=1, num_restarts=4, raw_samples=64
    )
    with torch.no_grad():
        expected = -float(model.posterior(point).mixture_mean)
    print("next point to measure, the two inputs that matter:", point[0, list(MATTER)].tolist())
    print(f"log expected improvement {float(gain):.2f}")
    print(f"value expected there {expected:.2f}, best so far {float(data.y.min()):.2f}")
    return point


if __name__ == "__main__":
    main()
