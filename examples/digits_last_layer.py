"""Handwritten digits: a trained classifier whose last layer alone is lifted, and what it says of what is not a digit.

The data come with scikit-learn: 1,797 images of 8 × 8 pixels. A network is trained on 898 of them; then its last layer, 170
of its 2,778 numbers, gets a prior and is sampled, the rest stays as it was trained. The lifted network is as accurate as the
point network, its probabilities are nearer to the truth, and it is less sure of what is not a digit: of noise, and of what lies
between a 3 and a 4. Far out on that line both are sure: there the layers that were not lifted have nothing more to tell.

Beside it the posterior of all 2,778 weights, by methods for networks of any size: a Kronecker-factored Laplace approximation,
SGHMC, SWAG and a deep ensemble.

    python examples/digits_last_layer.py     # trains, samples, prints scores, writes out/digits_last_layer.png
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist

HIDDEN = 16
BINS = 10


@dataclass(frozen=True)
class Data:
    """Images as rows of 64 numbers from 0 to 1, and their digits: to fit, and held out."""

    x: Tensor
    y: Tensor
    x_new: Tensor
    y_new: Tensor


def read_digits(seed: int = 0) -> Data:
    """The images, split in halves at random."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    x, y = torch.from_numpy(images).float()[order] / 16.0, torch.from_numpy(digits).long()[order]
    half = len(x) // 2
    return Data(x[:half], y[:half], x[half:], y[half:])


def train(data: Data, steps: int = 600, seed: int = 0) -> nn.Sequential:
    """A small network, trained by cross entropy, and frozen up to its last layer."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 10))
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(data.x), data.y).backward()
        optimiser.step()
    net[:4].requires_grad_(False)
    return net.eval()


def program(net: nn.Module) -> su.lift:
    """The classifier as a program, and its last layer lifted."""

    def classifier(x: Tensor, y: Tensor | None = None) -> None:
        logits = su.module("net", net)(x)
        su.deterministic("p", logits.softmax(-1))
        with su.plate("image", len(x)):
            su.sample("y", dist.Categorical(logits=logits), obs=y)

    return su.lift(classifier, {"net.4.*": dist.Normal(0.0, 1.0)})


def sample(lifted: su.lift, data: Data, draws: int = 250, chains: int = 4, seed: int = 0) -> su.Posterior:
    kernel = su.infer.NUTS(lifted)
    return su.infer.MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=chains, seed=seed).run(data.x, data.y)


def laplace(lifted: su.lift, data: Data, draws: int = 500, seed: int = 0) -> su.Posterior:
    """The normal distribution at the mode, whose matrix is the Hessian itself for a last layer; wider than the posterior."""
    return su.infer.Laplace(lifted, hessian="ggn", num_samples=draws, seed=seed).run(data.x, data.y)


def whole(net: nn.Module) -> su.lift:
    """The same classifier with all of its weights lifted."""
    free = copy.deepcopy(net).requires_grad_(True)

    def classifier(x: Tensor, y: Tensor | None = None) -> None:
        logits = su.module("net", free)(x)
        su.deterministic("p", logits.softmax(-1))
        with su.plate("image", len(x)):
            su.sample("y", dist.Categorical(logits=logits), obs=y)

    return su.lift(classifier, {"net.**": dist.Normal(0.0, 0.5)})


def methods(net: nn.Module, data: Data, draws: int = 50, seed: int = 0) -> dict[str, Callable[[], tuple[su.Posterior, Tensor]]]:
    """Posteriors of all weights, and the probabilities of held-out digits, by name."""
    lifted, given = whole(net), (data.x, data.y)

    def predicted(posterior: su.Posterior, *, linearised: bool = False) -> tuple[su.Posterior, Tensor]:
        if not linearised:
            return posterior, probabilities(posterior, data.x_new)
        return posterior, posterior.predict(data.x_new, linearised=True, seed=seed)["p"].mean((0, 1))

    def kronecker() -> tuple[su.Posterior, Tensor]:
        at_net = su.infer.Laplace(lifted, hessian="ggn", structure="kron", num_steps=0, num_samples=4 * draws, seed=seed)
        return predicted(at_net.run(*given), linearised=True)

    def sghmc() -> tuple[su.Posterior, Tensor]:
        dynamics = su.infer.SGHMC(lifted, 0.02)
        chains = su.infer.SGMCMC(dynamics, num_samples=draws, num_warmup=10 * draws, thinning=20, num_chains=4, seed=seed)
        return predicted(chains.run(*given))

    def swag() -> tuple[su.Posterior, Tensor]:
        optim = su.optim.SGD({"lr": 3e-4, "momentum": 0.9})
        return predicted(su.infer.SWAG(lifted, optim, num_steps=20 * draws, num_samples=2 * draws, seed=seed).run(*given))

    def ensemble() -> tuple[su.Posterior, Tensor]:
        return predicted(
            su.infer.DeepEnsemble(lifted, 5, optim=su.optim.Adam({"lr": 0.01}), num_steps=6 * draws, seed=seed).run(*given)
        )

    return {"Laplace, Kronecker factors": kronecker, "SGHMC": sghmc, "SWAG": swag, "ensemble of 5": ensemble}


def probabilities(posterior: su.Posterior, x: Tensor) -> Tensor:
    """The probability of each digit, averaged over draws, (row, 10)."""
    predictive = su.infer.Predictive(posterior.program.model, posterior, sites=["p"], seed=0)
    return predictive(x).mean("p")


@dataclass(frozen=True)
class Scores:
    """On held-out rows: share that is right, mean log score (nats), expected calibration error."""

    accuracy: float
    log_score: float
    calibration: float


def score(p: Tensor, y: Tensor) -> Scores:
    r"""The scores of probabilities (row, 10); calibration is :math:`\sum_b \frac{n_b}{n} |right_b - sure_b|` over ten bins
    of how sure the classifier is (Guo et al. 2017, "On calibration of modern neural networks", equation 3)."""
    sure, guess = p.max(-1)
    right = (guess == y).float()
    bins = (sure * BINS).long().clamp(max=BINS - 1)
    gaps = [
        float(inside.float().mean() * (right[inside].mean() - sure[inside].mean()).abs())
        for inside in (bins == b for b in range(BINS))
        if inside.any()
    ]
    chosen = p.gather(-1, y[:, None]).clamp(min=1e-12)
    return Scores(float(right.mean()), float(chosen.log().mean()), sum(gaps))


def entropy(p: Tensor) -> Tensor:
    """In nats; log 10 = 2.3 where all digits are equally likely."""
    return -(p * p.clamp(min=1e-12).log()).sum(-1)


def picture(path: Path, net: nn.Module, posterior: su.Posterior, data: Data) -> None:
    """Left: how unsure both are on the way from one digit to another. Right: on digits, and on noise that is not a digit."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    start, end = data.x_new[data.y_new == 3][0], data.x_new[data.y_new == 4][0]
    steps = torch.linspace(-3.0, 4.0, 141)
    way = start + steps[:, None] * (end - start)
    noise = torch.rand(len(data.x_new), 64, generator=torch.Generator().manual_seed(0))

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    groups = {"held-out digits": data.x_new, "noise": noise}
    spread = []
    for label, colour, predict in (
        ("trained network", "C3", lambda x: net(x).softmax(-1).detach()),
        ("last layer lifted", "C0", lambda x: probabilities(posterior, x)),
    ):
        left.plot(steps, predict(way).max(-1).values, color=colour, label=label)
        spread += [(label, name, colour, entropy(predict(x))) for name, x in groups.items()]
    left.axvspan(0, 1, color="0.93", zorder=0)
    left.text(0.5, 0.02, "between\nthe images", ha="center", va="bottom", fontsize=8, color="0.4")
    for at, digit in ((0, 3), (1, 4)):
        left.axvline(at, color="0.7", linewidth=1)
        left.text(at, 1.01, f"a {digit}", ha="center", va="bottom", fontsize=9, transform=left.get_xaxis_transform())
    left.set_ylim(0, 1.02)
    left.set_xlabel("place on the line through two held-out images (0: a 3, 1: a 4)")
    left.set_ylabel("probability of the likeliest digit")
    left.legend(frameon=False, loc="lower left")

    ordered = sorted(spread, key=lambda row: row[1])
    boxes = right.boxplot(
        [row[3].numpy() for row in ordered], showfliers=False, patch_artist=True, widths=0.5, medianprops={"color": "black"}
    )
    for box, (_, _, colour, _) in zip(boxes["boxes"], ordered, strict=True):
        box.set_facecolor(colour)
        box.set_alpha(0.5)
    right.set_xticks(range(1, 5), [f"{label}\n{name}" for label, name, _, _ in ordered])
    right.axhline(torch.tensor(10.0).log(), color="0.6", linestyle="--", linewidth=1)
    right.text(0.55, 2.32, "no idea", fontsize=8, color="0.4", va="bottom")
    right.set_ylabel("entropy of the predicted probabilities (nats)")
    right.set_title("How unsure: quartiles over images")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def show(name: str, scores: Scores, seconds: float | None) -> None:
    """Print a row of the table; the seconds include predictions."""
    took = "" if seconds is None else f"{seconds:9.1f}"
    print(f"{name:42}{scores.accuracy:9.3f}{scores.log_score:11.3f}{scores.calibration:13.3f}{took}", flush=True)


def main() -> tuple[Scores, Scores]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=250, help="draws per chain, and as many of warm-up")
    parser.add_argument("--out", type=Path, default=Path("out"), help="where the picture goes")
    options = parser.parse_args()

    data = read_digits()
    net = train(data)
    lifted = program(net)
    print(su.report(lifted, data.x, data.y))
    with torch.no_grad():
        trained = score(net(data.x_new).softmax(-1), data.y_new)
    print(f"\n{len(data.y_new)} held-out images".ljust(43) + " accuracy  log score  calibration  seconds")
    show("trained network", trained, None)
    began = time.perf_counter()
    posterior = sample(lifted, data, options.draws)
    bayesian = score(probabilities(posterior, data.x_new), data.y_new)
    show("last layer: NUTS", bayesian, time.perf_counter() - began)
    began = time.perf_counter()
    normal = score(probabilities(laplace(lifted, data), data.x_new), data.y_new)
    show("last layer: Laplace", normal, time.perf_counter() - began)
    for name, run in methods(net, data, max(options.draws // 5, 10)).items():
        began = time.perf_counter()
        _, p = run()
        show(f"all weights: {name}", score(p, data.y_new), time.perf_counter() - began)
    path = options.out / "digits_last_layer.png"
    picture(path, net, posterior, data)
    print(f"\nPicture: {path}")
    return trained, bayesian


if __name__ == "__main__":
    main()
