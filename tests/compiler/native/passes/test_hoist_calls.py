"""Functions taken out of short loops: the same numbers, in fewer and longer loops."""

import re

import pytest
import torch

from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.replay import Replay
from sursum.compiler.native.build import build, translate
from sursum.compiler.native.proof import prove
from sursum.compiler.passes import optimise

POINTS = torch.linspace(0.1, 1.3, 6).double(), torch.linspace(-0.9, 0.8, 6).double()


def table(q):
    """60 × 3 numbers, a matrix of which each row has its own column's and row's part."""
    return torch.linspace(-1.0, 1.0, 60).double()[:, None] * q[:3] + q[3:]


FUNCTIONS = {
    "exp": lambda q: -(table(q) - table(q).mean(1, keepdim=True)).exp().sum(0).log().sum(),
    "nested": lambda q: -((table(q) * q[0]).exp() + 1 + (table(q) ** 2).log1p()).log().prod(1).sum(),
    "shared": lambda q: ((table(q) - q[:3].sum()).exp() * table(q)).sum() - (table(q) - q[:3].sum()).exp().amax(0).sum(),
    "sigmoid": lambda q: torch.nn.functional.logsigmoid(table(q) * q[1]).sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_numbers_are_the_same(name):
    graph = optimise(capture(FUNCTIONS[name], POINTS, gradient=True))
    native = build(graph, title=name)
    points = [torch.randn(6, generator=torch.Generator().manual_seed(k)).double() for k in range(5)]
    assert prove(native, Replay(graph), points) == 5


def test_the_function_runs_over_the_whole():
    # Three short dimensions that cannot be merged into one, nor run along a longer one.
    seven, five = torch.linspace(-1.0, 1.0, 7).double()[:, None, None], torch.linspace(0.0, 1.0, 5).double()[:, None]
    graph = optimise(capture(lambda q: ((seven * q[:3] + five * q[3:]).cos().exp(),), POINTS, gradient=False))
    vector = frozenset({"exp"})
    plain, flat = (translate(graph, "t", names)[0].source for names in (frozenset(), vector))
    loop = re.compile(r"for \(int64_t i = 0; i < 105; i\+\+\) \{\s+const double \w+ = exp\(v\d+\[i\]\);")
    assert loop.search(flat)
    assert not loop.search(plain)
