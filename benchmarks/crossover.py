"""From which size on is a network better run by torch than by C? Value and gradient of both engines, side by side.

    python benchmarks/crossover.py [--seconds 1.0] [--batch]

Each figure is the least of many calls in double precision with one thread, full batch. `--batch` adds four chains in one call
by `torch.func.vmap`, per chain; where chains run one on each core, that must be less than half of the figure of one by itself
to win on two cores.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import sursum as su
import sursum.distributions as dist
from sursum.compiler.graph.replay import BatchReplay
from sursum.compiler.native.library.blas import one_thread

CHAINS = 4


def perceptron(*sizes: int, rows: int = 1000) -> tuple[nn.Module, Tensor]:
    layers = [part for n, m in pairwise(sizes) for part in (nn.Linear(n, m), nn.Tanh())]
    return nn.Sequential(*layers[:-1]), torch.randn(rows, sizes[0])


def convolutions(channels: int, rows: int = 200) -> tuple[nn.Module, Tensor]:
    first = [nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*first, *second, nn.Linear(2 * channels, 1)), torch.randn(rows, 1, 16, 16)


class Recurrent(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.recurrent, self.out = nn.LSTM(3, hidden, batch_first=True), nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.out(self.recurrent(x)[0][:, -1])
        return result


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(3, width), nn.Linear(width, 1)
        self.layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.out(self.layer(self.into(x)).mean(1))
        return result


NETWORKS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "10–8–1": lambda: perceptron(10, 8, 1),
    "100–32–32–1": lambda: perceptron(100, 32, 32, 1),
    "100–64–64–1": lambda: perceptron(100, 64, 64, 1),
    "100–128–128–1": lambda: perceptron(100, 128, 128, 1),
    "100–320–320–1": lambda: perceptron(100, 320, 320, 1),
    "conv 4, 8": lambda: convolutions(4),
    "conv 16, 32": lambda: convolutions(16),
    "conv 32, 64": lambda: convolutions(32),
    "LSTM 16, 12 steps": lambda: (Recurrent(16), torch.randn(32, 12, 3)),
    "LSTM 64, 12 steps": lambda: (Recurrent(64), torch.randn(64, 12, 3)),
    "attention 16, 16 places": lambda: (Attention(16, 2), torch.randn(32, 16, 3)),
    "attention 64, 64 places": lambda: (Attention(64, 4), torch.randn(32, 64, 3)),
}


def least(call: Callable[[], object], seconds: float) -> float:
    """Milliseconds of the fastest of the calls that fit."""
    call()
    end, best = time.perf_counter() + seconds, float("inf")
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def measure(name: str, seconds: float, batch: bool) -> str:
    """A row of the table."""
    torch.manual_seed(0)
    net, x = NETWORKS[name]()
    y = torch.randn(len(x))

    def program(x: Tensor, y: Tensor) -> None:
        su.sample("y", dist.Normal(su.module("net", net)(x).squeeze(-1), 1.0).to_event(1), obs=y)

    lifted = su.lift(program, su.priors.fan_in())
    cells = []
    with one_thread():
        for engine in ("native", "torch"):
            density = su.compile(lifted, x, y, engine=engine)
            q = density.points[0].numpy()
            cells.append(least(lambda d=density, q=q: d.value_and_grad(q), seconds))
        if batch and density.graph is not None:
            many, rows = BatchReplay(density.graph), density.points[0].repeat(CHAINS, 1)
            try:
                with torch.no_grad():
                    cells.append(least(lambda: many.mapped(rows), seconds) / CHAINS)
            except (RuntimeError, NotImplementedError):
                cells.append(float("nan"))
    return f"| {name} | {density.dim:,} | {len(x):,} | {' | '.join(f'{cell:.3g}' for cell in cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each figure is looked for")
    parser.add_argument("--batch", action="store_true", help="also four chains in one batch, per chain")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    columns = ["network", "unknowns", "rows", "C ms", "torch ms", *(["in a batch ms"] if options.batch else [])]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in options.networks:
        print(measure(name, options.seconds, options.batch), flush=True)


if __name__ == "__main__":
    main()
