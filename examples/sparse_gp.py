r"""A Gaussian process that finds out which inputs matter: SAAS, the fully Bayesian surrogate of high-dimensional optimisation.

Branin's function of two inputs is hidden among twenty and measured at 50 points, with noise. The program is a Gaussian process
with a Matérn-5/2 kernel,

.. math:: k(x, x') = a \, m_{5/2}\Big(\sqrt{\textstyle\sum_i \rho_i (x_i - x'_i)^2}\Big)

and one inverse squared length scale :math:`\rho_i` for each input. Fitted by maximum likelihood it finds the two that matter,
but its noise goes to nothing and it is far too sure of its predictions. Lifted, with a half-Cauchy on each of them and one on
their common scale, it says how well each is known, and what it predicts is scored far higher.

Reference: Eriksson, Jankowiak (2021), High-dimensional Bayesian optimization with sparse axis-aligned subspaces, section 4.

    python examples/sparse_gp.py             # fits, samples, prints scores, writes out/sparse_gp.png
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints

ROWS = 50
INPUTS = 20
MATTER = (3, 11)
"""The inputs that the function depends on."""

NOISE = 0.1
JITTER = 1e-6


@dataclass(frozen=True)
class Data:
    """Points in the unit cube to fit and points held out, in double precision; y is standardised by the former."""

    x: Tensor
    y: Tensor
    x_new: Tensor
    y_new: Tensor


def branin(u: Tensor, v: Tensor) -> Tensor:
    """Branin's function on the unit square (Dixon, Szegő 1978)."""
    a, b = 15.0 * u - 5.0, 15.0 * v
    bowl = b - 5.1 / (4.0 * torch.pi**2) * a**2 + 5.0 / torch.pi * a - 6.0
    return bowl**2 + 10.0 * (1.0 - 1.0 / (8.0 * torch.pi)) * a.cos() + 10.0


def measure(seed: int = 0) -> Data:
    """The function at 50 points at random, with noise of a tenth of its standard deviation, and at 500 more."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(ROWS + 500, INPUTS, generator=generator, dtype=torch.float64)
    y = branin(x[:, MATTER[0]], x[:, MATTER[1]])
    y = (y - y[:ROWS].mean()) / y[:ROWS].std()
    y = y + NOISE * torch.randn(len(y), generator=generator, dtype=torch.float64)
    return Data(x[:ROWS], y[:ROWS], x[ROWS:], y[ROWS:])


def matern(x: Tensor, z: Tensor, rho: Tensor) -> Tensor:
    """The Matérn-5/2 correlation of the rows of x and z, with inverse squared length scales rho."""
    # Differences, and not the cheaper product of x and z: that is not exactly zero where two points are one.
    square = (x[:, None] - z).square() @ rho
    r = (5.0 * square.clamp(min=1e-12)).sqrt()
    return (1.0 + r + r * r / 3.0) * torch.exp(-r)


def process(x: Tensor, y: Tensor | None = None, x_new: Tensor | None = None) -> None:
    """The program: y is a Gaussian process at x, with noise. Given `x_new`, also mean and sd of y there, given y at x."""
    one = torch.tensor(1.0, dtype=x.dtype)
    rho = su.param("rho", torch.full((x.shape[1],), 1.0, dtype=x.dtype), constraint=constraints.positive)
    amplitude = su.param("amplitude", one, constraint=constraints.positive)
    noise = su.param("noise", 0.1 * one, constraint=constraints.positive)
    mean = su.param("mean", 0.0 * one)
    covariance = amplitude * matern(x, x, rho) + (noise + JITTER * amplitude) * torch.eye(len(x), dtype=x.dtype)
    root = torch.linalg.cholesky(covariance)
    su.sample("y", dist.MultivariateNormal(mean.expand(len(x)), scale_tril=root), obs=y)
    if x_new is not None and y is not None:
        across = torch.linalg.solve_triangular(root, amplitude * matern(x, x_new, rho), upper=False)
        error = torch.linalg.solve_triangular(root, (y - mean)[:, None], upper=False)
        su.deterministic("mean_new", mean + (across.T @ error).squeeze(-1))
        su.deterministic("sd_new", (amplitude + noise - across.square().sum(0)).clamp(min=1e-9).sqrt())


def sparse(rho: Tensor) -> dist.Distribution:
    """The prior of SAAS: a half-Cauchy for each input, scaled by one that is small for all of them."""
    tau = su.sample("tau", dist.HalfCauchy(torch.tensor(0.1, dtype=rho.dtype)))
    return dist.HalfCauchy(tau)


def lifted() -> su.lift:
    priors = {
        "rho": sparse,
        "amplitude": dist.Gamma(2.0, 0.15),
        "noise": dist.Gamma(0.9, 10.0),
        "mean": dist.Normal(0.0, 1.0),
    }
    return su.lift(process, priors)


def sample(data: Data, draws: int = 250, chains: int = 4, seed: int = 0) -> su.Posterior:
    kernel = su.infer.NUTS(lifted(), target_accept=0.9)
    return su.infer.MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=chains, seed=seed).run(data.x, data.y)


@dataclass(frozen=True)
class Scores:
    """On held-out rows: root mean square error (standard deviations of y), mean log score (nats)."""

    rmse: float
    log_score: float


def score(mean: Tensor, sd: Tensor, y: Tensor) -> Scores:
    """The scores of an equal mixture of normals, one for each draw: mean and sd are (draw, row)."""
    log_prob = dist.Normal(mean, sd).log_prob(y).logsumexp(0) - torch.tensor(float(len(mean))).log()
    return Scores(float((mean.mean(0) - y).square().mean().sqrt()), float(log_prob.mean()))


def predict(samples: su.Posterior | dict[str, Tensor], data: Data) -> tuple[Tensor, Tensor]:
    """Mean and sd of y at the held-out rows, for each draw: (draw, row)."""
    program = lifted() if isinstance(samples, su.Posterior) else process
    found = su.infer.Predictive(program, samples, sites=["mean_new", "sd_new"], seed=0)(data.x, data.y, data.x_new)
    mean, sd = (found[name].flatten(0, found.batch_ndims - 1) for name in ("mean_new", "sd_new"))
    return mean, sd


def picture(path: Path, fitted: Tensor, posterior: su.Posterior) -> None:
    """The inverse length scale of every input, fitted and lifted."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    low, middle, high = posterior["rho"].flatten(0, 1).sqrt().quantile(torch.tensor([0.05, 0.5, 0.95]).double(), dim=0)
    place = torch.arange(INPUTS)
    figure, axes = plt.subplots(figsize=(10, 5), layout="constrained")
    for matters in MATTER:
        axes.axvspan(matters - 0.5, matters + 0.5, color="0.92", zorder=0)
    axes.vlines(place, low, high, color="C0", linewidth=3, alpha=0.5, label="lifted: 90 % interval")
    axes.plot(place, middle, "o", color="C0", label="lifted: median")
    axes.plot(place, fitted.sqrt(), "o", color="C3", markerfacecolor="white", label="maximum likelihood")
    axes.set_yscale("symlog", linthresh=1e-2)
    axes.set_ylim(0, None)
    axes.set_xticks(place, [str(i) for i in range(INPUTS)])
    axes.set_xlabel("input (grey: the two that the function depends on)")
    axes.set_ylabel("inverse length scale (per side of the unit cube)")
    axes.set_title(f"Which of {INPUTS} inputs matter, from {ROWS} measurements")
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> tuple[Scores, Scores]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=250, help="draws per chain, and as many of warm-up")
    parser.add_argument("--out", type=Path, default=Path("out"), help="where the picture goes")
    options = parser.parse_args()

    data = measure()
    fitted = su.infer.Fit(process).run(data.x, data.y)
    point = {name: fitted[name][None] for name in ("rho", "amplitude", "noise", "mean")}
    posterior = sample(data, options.draws)
    print(posterior.summary(["tau", "amplitude", "noise", "mean", "rho"], limit=20))

    ours, theirs = score(*predict(posterior, data), data.y_new), score(*predict(point, data), data.y_new)
    print(f"\n{len(data.y_new)} held-out points                     fitted   lifted")
    print(f"root mean square error (sd of y)     {theirs.rmse:8.3f} {ours.rmse:8.3f}")
    print(f"mean log score (nats)                {theirs.log_score:8.3f} {ours.log_score:8.3f}")
    path = options.out / "sparse_gp.png"
    picture(path, fitted["rho"], posterior)
    print(f"\nPicture: {path}")
    return theirs, ours


if __name__ == "__main__":
    main()
