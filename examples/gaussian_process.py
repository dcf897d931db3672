"""A smooth function from thirty noisy measurements: a Gaussian process whose length scale, height and noise are lifted.

The data are simulated, so that the truth is known. The function's values are integrated out (they are normal given the
three parameters); afterwards they are drawn from their posterior, for each draw of the parameters.

    python examples/gaussian_process.py # prints the parameters, writes out/gaussian_process.png
"""

from __future__ import annotations

import torch
from tools import options, picture
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints

NOISE = 0.3


def truth(x: Tensor) -> Tensor:
    return torch.sin(1.2 * x) + 0.3 * x


def simulate(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Thirty places, none between 5 and 7, and a measurement at each; double precision, which Cholesky factors need."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(30, generator=generator, dtype=torch.float64) * 8
    x = torch.where(x > 5, x + 2, x).sort().values
    return x, truth(x) + NOISE * torch.randn(30, generator=generator, dtype=torch.float64)


def kernel(a: Tensor, b: Tensor, length: Tensor, height: Tensor) -> Tensor:
    """The covariance of the function's values at a and b: squared exponential."""
    return height.square() * (-(a[..., :, None] - b).square() / (2 * length.square())).exp()


def process(x: Tensor, y: Tensor | None = None) -> None:
    """The program: maximum marginal likelihood would fit these three parameters."""
    length = su.param("length", x.new_tensor(1.0), constraint=constraints.positive)
    height = su.param("height", x.new_tensor(1.0), constraint=constraints.positive)
    noise = su.param("noise", x.new_tensor(0.5), constraint=constraints.positive)
    covariance = kernel(x, x, length, height) + noise.square() * torch.eye(len(x), dtype=x.dtype)
    su.sample("y", dist.MultivariateNormal(torch.zeros_like(x), covariance), obs=y)


def posterior(x: Tensor, y: Tensor, draws: int = 1000) -> su.Posterior:
    priors = {"length": dist.InverseGamma(3.0, 5.0), "height": dist.HalfNormal(2.0), "noise": dist.HalfNormal(1.0)}
    nuts = su.infer.NUTS(su.lift(process, priors))
    return su.infer.MCMC(nuts, num_warmup=draws, num_samples=draws, num_chains=4, seed=0).run(x, y)


def function_values(found: su.Posterior, x: Tensor, y: Tensor, new: Tensor, seed: int = 0) -> Tensor:
    """Draws of the function at `new`, one for each draw of the parameters: (draw, place)."""
    length, height, noise = (found[name].flatten()[:, None, None] for name in ("length", "height", "noise"))
    factor = torch.linalg.cholesky(kernel(x, x, length, height) + noise.square() * torch.eye(len(x), dtype=x.dtype))
    across = kernel(new, x, length, height)
    mean = (across @ torch.cholesky_solve(y[:, None].expand(len(factor), -1, -1), factor)).squeeze(-1)
    half = torch.linalg.solve_triangular(factor, across.mT, upper=False)
    covariance = kernel(new, new, length, height) - half.mT @ half + 1e-8 * torch.eye(len(new), dtype=x.dtype)
    normal = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    return mean + (torch.linalg.cholesky(covariance) @ normal[..., None]).squeeze(-1)


def main() -> su.Posterior:
    chosen = options(__doc__)
    x, y = simulate()
    found = posterior(x, y, chosen.draws)
    print(found.summary())
    print(f"The noise was {NOISE}.")

    new = torch.linspace(-0.5, 11.0, 120, dtype=torch.float64)
    values = function_values(found, x, y, new)[:1000]
    low, middle, high = torch.quantile(values, torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64), dim=0)
    with picture(chosen.out / "gaussian_process.png") as axes:
        axes.fill_between(new, low, high, color="C0", alpha=0.25, label="90 % interval")
        axes.plot(new, values[:5].T, color="C0", alpha=0.4, linewidth=0.7)
        axes.plot(new, middle, color="C0", label="posterior median, and five draws")
        axes.plot(new, truth(new), color="C3", linestyle="--", label="the true function")
        axes.plot(x, y, "o", color="0.2", markersize=4, label="measurements")
        axes.set_xlabel("x (arbitrary units)")
        axes.set_ylabel("f(x) (arbitrary units)")
        axes.set_title("A Gaussian process: the interval widens where nothing was measured")
        axes.legend(frameon=False)
    return found


if __name__ == "__main__":
    main()
