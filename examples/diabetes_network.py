"""Diabetes after one year: a network trained on 331 patients, then lifted, and what its intervals are worth on 111 others.

The data come with scikit-learn (Efron, Hastie, Johnstone, Tibshirani 2004): ten measurements of a patient, and how far the
disease has progressed a year later, on the study's own scale of 25 to 346 points. The trained network gives one curve and
one noise level, the same wherever it is asked. Lifted, the same network, untouched, knows what the data leave open. Beside NUTS
the methods for networks of any size: Laplace's approximation of the last layer and of all by Kronecker factors, SGHMC, SWAG
and a deep ensemble.

    python examples/diabetes_network.py      # trains, samples, prints coverage, writes out/diabetes_network.png
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable
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


def regression_of(net: nn.Module, sigma: float) -> Callable[..., None]:
    """The network with noise, as a program."""

    def regression(x: Tensor, y: Tensor | None = None) -> None:
        f = su.deterministic("f", su.module("net", net)(x).squeeze(-1))
        noise = su.param("sigma", torch.tensor(sigma), constraint=constraints.positive)
        with su.plate("patient", len(x)):
            su.sample("y", dist.Normal(f, noise), obs=y)

    return regression


def program(net: nn.Module, sigma: float = 1.0) -> su.lift:
    """The network with noise, lifted."""
    priors = {"net.**.weight": su.priors.fan_in(), "net.**.bias": dist.Normal(0.0, 1.0), "sigma": dist.HalfNormal(1.0)}
    return su.lift(regression_of(net, sigma), priors)


def last(net: nn.Sequential, sigma: float) -> su.lift:
    """The network with noise, of which the last layer alone is lifted."""
    frozen = copy.deepcopy(net)
    frozen[0].requires_grad_(False)
    priors = {"net.2.weight": su.priors.fan_in(), "net.2.bias": dist.Normal(0.0, 1.0), "sigma": dist.HalfNormal(1.0)}
    return su.lift(regression_of(frozen, sigma), priors)


def sample(lifted: su.lift, data: Data, draws: int = 500, chains: int = 4, seed: int = 0) -> su.Posterior:
    """Four chains that start at the trained weights."""
    kernel = su.infer.NUTS(lifted, target_accept=0.9)
    return su.infer.MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=chains, seed=seed).run(data.x, data.y)


def methods(net: nn.Sequential, sigma: float, data: Data, draws: int = 100, seed: int = 0) -> dict[str, Callable[[], Scores]]:
    """The scores of other posteriors of the same network, by name."""
    lifted, given = program(net, sigma), (data.x, data.y)

    def last_layer() -> Scores:
        return score_posterior(su.infer.Laplace(last(net, sigma), num_samples=4 * draws, seed=seed).run(*given), data)

    def kronecker() -> Scores:
        found = su.infer.Laplace(lifted, hessian="ggn", structure="kron", num_samples=4 * draws, seed=seed).run(*given)
        return score_posterior(found, data, linearised=True)

    def sghmc() -> Scores:
        dynamics = su.infer.SGHMC(lifted, 0.01, friction=2.0)
        chains = su.infer.SGMCMC(dynamics, num_samples=draws, num_warmup=10 * draws, thinning=20, num_chains=4, seed=seed)
        return score_posterior(chains.run(*given), data)

    def swag() -> Scores:
        optim = su.optim.SGD({"lr": 1e-3, "momentum": 0.9})
        return score_posterior(
            su.infer.SWAG(lifted, optim, num_steps=20 * draws, num_samples=4 * draws, seed=seed).run(*given), data
        )

    def ensemble() -> Scores:
        optim = su.optim.Adam({"lr": 0.01})
        members = su.infer.DeepEnsemble(lifted, 5, optim=optim, num_steps=10 * draws, seed=seed)
        return score_posterior(members.run(*given), data)

    return {
        "Laplace, last layer": last_layer,
        "Laplace, Kronecker factors": kronecker,
        "SGHMC": sghmc,
        "SWAG": swag,
        "ensemble of 5": ensemble,
    }


@dataclass(frozen=True)
class Scores:
    """On held-out rows: shares inside intervals of the levels of `LEVELS`, mean log score (nats), root mean square error."""

    coverage: tuple[float, ...]
    log_score: float
    rmse: float

    @property
    def calibration(self) -> float:
        """The mean distance between the levels and the shares."""
        return sum(abs(share - level) for share, level in zip(self.coverage, LEVELS, strict=True)) / len(LEVELS)


def score_network(net: nn.Module, sigma: float, data: Data) -> Scores:
    """The trained network with its residuals' standard deviation."""
    with torch.no_grad():
        error = (data.y_new - net(data.x_new).squeeze(-1)) / sigma
    half = [float(dist.Normal(0.0, 1.0).icdf(torch.tensor(0.5 + level / 2.0))) for level in LEVELS]
    log_score = dist.Normal(0.0, 1.0).log_prob(error).mean() - torch.tensor(sigma).log()
    inside = tuple(float((error.abs() < h).float().mean()) for h in half)
    return Scores(inside, float(log_score), float((error * sigma).square().mean().sqrt()))


def score_posterior(posterior: su.Posterior, data: Data, seed: int = 0, *, linearised: bool | None = None) -> Scores:
    """The posterior predictive: intervals are quantiles of draws, the log score averages densities over draws."""
    repeats = math.ceil(1000 / (posterior.num_chains * posterior.num_samples))  # five members are too few for quantiles
    drawn = [posterior.predict(data.x_new, seed=seed + k, linearised=linearised)["y"] for k in range(repeats)]
    y = torch.cat(drawn).flatten(0, 1)
    inside = []
    for level in LEVELS:
        low, high = y.quantile(0.5 - level / 2.0, 0), y.quantile(0.5 + level / 2.0, 0)
        inside.append(float(((low < data.y_new) & (data.y_new < high)).float().mean()))
    pointwise = posterior.log_likelihood(data.x_new, data.y_new, linearised=linearised)["y"].flatten(0, 1)
    log_score = (pointwise.logsumexp(0) - torch.tensor(float(len(pointwise))).log()).mean()
    return Scores(tuple(inside), float(log_score), float((y.mean(0) - data.y_new).square().mean().sqrt()))


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
    began = time.perf_counter()
    posterior = sample(lifted, data, options.draws)
    seconds = time.perf_counter() - began
    print()
    print(posterior.predict(data.x_new[:5], seed=0).summary())

    trained, bayesian = score_network(net, sigma, data), score_posterior(posterior, data)
    print(f"\n{HELD_OUT} held-out patients             trained    lifted")
    for level, one, other in zip(LEVELS, trained.coverage, bayesian.coverage, strict=True):
        print(f"inside the {level:4.0%} interval            {one:7.1%}   {other:7.1%}")
    print(f"mean log score (nats)              {trained.log_score:8.3f}  {bayesian.log_score:8.3f}")
    print(f"root mean square error (points)    {trained.rmse * data.scale:8.1f}  {bayesian.rmse * data.scale:8.1f}")
    print("\nother methods".ljust(31) + "log score  calibration  points  seconds")
    rows: dict[str, Callable[[], Scores]] = {"NUTS": lambda: bayesian, **methods(net, sigma, data, max(options.draws // 5, 20))}
    for name, run in rows.items():
        began = time.perf_counter()
        found = run()
        took = seconds if name == "NUTS" else time.perf_counter() - began
        print(f"{name:30}{found.log_score:9.3f}{found.calibration:13.3f}{found.rmse * data.scale:8.1f}{took:9.1f}", flush=True)
    path = options.out / "diabetes_network.png"
    picture(path, net, sigma, posterior, data)
    print(f"\nPicture: {path}")
    return trained, bayesian


if __name__ == "__main__":
    main()
