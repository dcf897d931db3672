"""What the benchmark of training trains: networks, data and plain torch losses. Needs torch alone, so that peers read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ROUNDS = 5
MANY = 20_000
"""Steps of a call where one call takes many: what a call costs by itself counts for little then."""

RATE, SPREAD = 1e-3, 0.2

#: The sum of −log p over a batch, by what is observed.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bernoulli": lambda out, y: nn.functional.binary_cross_entropy_with_logits(out[..., 0], y, reduction="sum"),
    "normal": lambda out, y: 0.5 * ((y - out[..., 0]) / SPREAD).square().sum(),
    "categorical": lambda out, y: nn.functional.cross_entropy(out, y, reduction="sum"),
}


@dataclass(frozen=True)
class Task:
    """A network, and rows of data of which each step takes some.

    Args:
        observed: the kind of the observed variable, a key of `LOSSES`.
        steps: how many steps a round of the comparison takes.
        many: whether a step is so short that loops of many steps in one call are timed as well.
    """

    name: str
    net: Callable[[], nn.Module]
    observed: str
    rows: int
    batch: int
    steps: int
    many: bool = False

    def made(self) -> nn.Module:
        torch.manual_seed(1)
        return self.net()

    def data(self) -> tuple[Tensor, Tensor]:
        x, y = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
        if self.name == "transformer":
            return torch.randint(VOCABULARY, (self.rows, LENGTH), generator=x), torch.randint(10, (self.rows,), generator=y)
        inputs = torch.randn(self.rows, width_of(self.made()), generator=x)
        if self.observed == "categorical":
            return inputs, torch.randint(10, (self.rows,), generator=y)
        seen = torch.randn(self.rows, generator=y)
        return inputs, (seen > 0).float() if self.observed == "bernoulli" else seen

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = self.data()
        generator = torch.Generator().manual_seed(2)
        while True:
            rows = torch.randint(self.rows, (self.batch,), generator=generator)
            yield x[rows], y[rows]


VOCABULARY, LENGTH, WIDTH, HEADS, LAYERS = 100, 16, 32, 4, 2


class Transformer(nn.Module):
    """Words and places, two layers of attention without dropout, and classes from the mean over words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Parameter(0.1 * torch.randn(LENGTH, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS)
        self.out = nn.Linear(WIDTH, 10)

    def forward(self, words: Tensor) -> Tensor:
        return self.out(self.layers(self.words(words) + self.places).mean(1))


def perceptron(width: int) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))


def width_of(net: nn.Module) -> int:
    return next(part.in_features for part in net.modules() if isinstance(part, nn.Linear))


TASKS = {
    task.name: task
    for task in (
        Task("logistic", lambda: nn.Sequential(nn.Linear(25, 1)), "bernoulli", 20_000, 100, 200, many=True),
        Task(
            "10-50-1", lambda: nn.Sequential(nn.Linear(10, 50), nn.Tanh(), nn.Linear(50, 1)), "normal", 20_000, 100, 200, True
        ),
        Task("transformer", Transformer, "categorical", 6000, 64, 10),
        Task("1e5", perceptron(110), "categorical", 60_000, 128, 20),
        Task("1e6", perceptron(600), "categorical", 60_000, 128, 8),
        Task("1e7", perceptron(2800), "categorical", 60_000, 128, 2),
    )
}

#: Of the variational autoencoder.
PIXELS, HIDDEN, LATENT, IMAGES, IMAGES_BATCH, IMAGES_STEPS = 784, 200, 20, 60_000, 128, 20


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.loc, self.log_scale = nn.Linear(PIXELS, HIDDEN), nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.nn.functional.softplus(self.hidden(x))
        return self.loc(hidden), self.log_scale(hidden).exp()


def decoder() -> nn.Sequential:
    return nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.Softplus(), nn.Linear(HIDDEN, PIXELS))


def data_of_images() -> tuple[Tensor]:
    return ((torch.rand(IMAGES, PIXELS, generator=torch.Generator().manual_seed(0)) < 0.3).float(),)


def images() -> Iterator[tuple[Tensor]]:
    (x,) = data_of_images()
    generator = torch.Generator().manual_seed(2)
    while True:
        yield (x[torch.randint(IMAGES, (IMAGES_BATCH,), generator=generator)],)
