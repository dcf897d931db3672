"""Diabetes after one year: a network trained on 331 patients, then lifted, and what its intervals are worth on 111 others.

The data come with scikit-learn (Efron, Hastie, Johnstone, Tibshirani 2004): ten measurements of a patient, and how far the
disease has progressed a year later, on the study's own scale of 25 to 346 points. The trained network gives one curve and
one noise level, the same wherever it is asked. Lifted, the same network, untouched, knows what the data leave open.

    python examples/diabetes_network.py      # trains, samples, prints coverage, writes out/diabetes_network.png
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints

HELD_OUT = 111
HIDDEN = 8
LEVELS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Data:
    """Rows to fit and rows held out, standardised by the former; `scale` is one standard deviation of y in points."""

    x: Tensor
    y: Tensor
    x_new: Tensor
    y_new: Tensor
    centre: float
    scale: float


def read_patients(seed: int = 0) -> Data:
    """The 442 patients, split at random."""
    from sklearn.datasets import load_diabetes

    columns, progression = load_diabetes(return_X_y=True)
    order = torch.randperm(len(columns), generator=torch.Generator().manual_seed(seed))
    x, y = torch.from_numpy(columns).float()[order], torch.from_numpy(progression).float()[order]
    fit, new = slice(HELD_OUT, None), slice(None, HELD_OUT)
    centre, scale = y[fit].mean(), y[fit].std()
    x = (x - x[fit].mean(0)) / x[fit].std(0)
    y = (y - centre) / scale
    return Data(x[fit], y[fit], x[new], y[new], float(centre), float(scale))


def network(seed: int = 0) -> nn.Sequential:
    """Ten measurements to one number through eight hidden units."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(10, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))


def train(net: nn.Sequential, data: Data, steps: int = 2000) -> float:
    """Least squares, stopped where a fifth of the rows is predicted best, as anyone would; the noise, from those rows."""
    x, y = data.x[66:], data.y[66:]
    x_check, y_check = data.x[:66], data.y[:66]
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.01)
    best, kept = math.inf, {name: value.clone() for name, value in net.state_dict().items()}
    for _ in range(steps):
        optimiser.zero_grad()
        (net(x).squeeze(-1) - y).square().mean().backward()
        optimiser.step()
        with torch.no_grad():
            loss = float((net(x_check).squeeze(-1) - y_check).square().mean())
        if loss < best:
            best, kept = loss, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(kept)
    return math.sqrt(best)


def program(net: nn.Module, sigma: float = 1.0) -> su.lift:
    """The network with noise, as a program, and the priors that lift it."""

    def regression(x: Tensor, y: Tensor | None = None) -> None:
        f = su.deterministic("f", su.module("net", net)(x).squeeze(-1))
        noise = su.param("sigma", torch.tensor(sigma), constraint=constraints.positive)
        with su.plate("patient", len(x)):
            su.sample("y", dist.Normal(f, noise), obs=y)

    priors = {"net.**.weight": su.priors.fan_in(), "net.**.bias": dist.Normal(0.0, 1.0), "sigma": dist.HalfNormal(1.0)}
    return su.lift(regression, priors)


def sample(lifted: su.lift, data: Data, draws: int = 500, chains: int = 4, seed: int = 0) -> su.Posterior:
    """Four chains that start at the trained weights."""
    kernel = su.infer.NUTS(lifted, target_accept=0.9)
    return su.infer.MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=chains, seed=seed).run(data.x, data.y)


@dataclass(frozen=True)
class Scores:
    """On held-out rows: shares inside intervals of the levels of `LEVELS`, mean log score (nats), root mean square error."""

    coverage: tuple[float, ...]
    log_score: float
    rmse: float


def score_network(net: nn.Module, sigma: float, data: Data) -> Scores:
    """The trained network with its residuals' standard deviation."""
    with torch.no_grad():
        error = (data.y_new - net(data.x_new).squeeze(-1)) / sigma
    half = [float(dist.Normal(0.0, 1.0).icdf(torch.tensor(0.5 + level / 2.0))) for level in LEVELS]
    log_score = dist.Normal(0.0, 1.0).log_prob(error).mean() - torch.tensor(sigma).log()
    inside = tuple(float((error.abs() < h).float().mean()) for h in half)
    return Scores(inside, float(log_score), float((error * sigma).square().mean().sqrt()))


def score_posterior(posterior: su.Posterior, data: Data, seed: int = 0) -> Scores:
    """The posterior predictive: intervals are quantiles of draws, the log score averages densities over draws."""
    prediction = posterior.predict(data.x_new, seed=seed)
    inside = []
    for level in LEVELS:
        low, high = prediction.interval(level)
        inside.append(float(((low < data.y_new) & (data.y_new < high)).float().mean()))
    pointwise = posterior.log_likelihood(data.x_new, data.y_new)["y"].flatten(0, 1)
    log_score = (pointwise.logsumexp(0) - torch.tensor(float(len(pointwise))).log()).mean()
    return Scores(tuple(inside), float(log_score), float((prediction.mean() - data.y_new).square().mean().sqrt()))


def picture(path: Path, net: nn.Module, sigma: float, posterior: su.Posterior, data: Data) -> None:
    """Left: body mass index varied alone, far past the data. Right: promised coverage against what was measured."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    index = 2
    grid = torch.linspace(-6.0, 8.0, 141)
    x = data.x.median(0).values.repeat(len(grid), 1)
    x[:, index] = grid
    points = lambda value: data.centre + data.scale * value.detach().numpy()
    prediction = posterior.predict(x, seed=0)
    low, high = prediction.interval(0.9)
    f = prediction["f"].flatten(0, 1).quantile(torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64), dim=0)
    with torch.no_grad():
        fitted = net(x).squeeze(-1)

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), width_ratios=(3, 2), layout="constrained")
    left.fill_between(grid, points(low), points(high), color="C0", alpha=0.15, label="lifted: 90 % of new patients")
    left.fill_between(grid, points(f[0]), points(f[2]), color="C0", alpha=0.35, label="lifted: 90 % interval of the curve")
    left.plot(grid, points(f[1]), color="C0", label="lifted: median")
    left.plot(grid, points(fitted), color="C3", label="trained network")
    for side in (-1.645, 1.645):
        left.plot(grid, points(fitted + side * sigma), color="C3", linestyle="--", linewidth=1)
    left.plot([], [], color="C3", linestyle="--", linewidth=1, label="trained network: 90 % of new patients")
    left.plot(data.x[:, index], points(data.y), ".", color="0.5", markersize=4, label="patients it was fitted to")
    left.set_xlabel("body mass index (standard deviations from the mean), the rest at their medians")
    left.set_ylabel("progression after one year (points)")
    left.set_ylim(-100, 450)
    left.legend(frameon=False, loc="upper left", fontsize=8)
    left.set_title("The same network, trained and lifted")

    levels = torch.linspace(0.05, 0.95, 19)
    error = (data.y_new - net(data.x_new).squeeze(-1).detach()).abs() / sigma
    plain = [float((error < dist.Normal(0.0, 1.0).icdf(0.5 + level / 2)).float().mean()) for level in levels]
    held_out = posterior.predict(data.x_new, seed=0)
    ends = [held_out.interval(float(level)) for level in levels]
    ours = [float(((a < data.y_new) & (data.y_new < b)).float().mean()) for a, b in ends]
    error_bar = 2 * (levels * (1 - levels) / HELD_OUT).sqrt()
    right.fill_between(levels, levels - error_bar, levels + error_bar, color="0.9", label="two standard errors")
    right.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    right.plot(levels, plain, "o-", color="C3", markersize=4, label="trained network")
    right.plot(levels, ours, "o-", color="C0", markersize=4, label="lifted")
    right.set_xlabel("promised coverage of the interval")
    right.set_ylabel(f"share of {HELD_OUT} held-out patients inside")
    right.legend(frameon=False, loc="upper left")
    right.set_title("Coverage")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> tuple[Scores, Scores]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500, help="draws per chain, and as many of warm-up")
    parser.add_argument("--out", type=Path, default=Path("out"), help="where the picture goes")
    options = parser.parse_args()

    data = read_patients()
    net = network()
    sigma = train(net, data)
    lifted = program(net, sigma)
    print(su.report(lifted, data.x, data.y))
    posterior = sample(lifted, data, options.draws)
    print()
    print(posterior.predict(data.x_new[:5], seed=0).summary())

    trained, bayesian = score_network(net, sigma, data), score_posterior(posterior, data)
    print(f"\n{HELD_OUT} held-out patients             trained    lifted")
    for level, one, other in zip(LEVELS, trained.coverage, bayesian.coverage, strict=True):
        print(f"inside the {level:4.0%} interval            {one:7.1%}   {other:7.1%}")
    print(f"mean log score (nats)              {trained.log_score:8.3f}  {bayesian.log_score:8.3f}")
    print(f"root mean square error (points)    {trained.rmse * data.scale:8.1f}  {bayesian.rmse * data.scale:8.1f}")
    path = options.out / "diabetes_network.png"
    picture(path, net, sigma, posterior, data)
    print(f"\nPicture: {path}")
    return trained, bayesian


if __name__ == "__main__":
    main()
