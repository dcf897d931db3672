"""The hyperbolic tangent of ours: to units in the last place everywhere, and vectors where a loop runs over it."""

from __future__ import annotations

import re

import mpmath
import numpy as np
import pytest
import torch

from sursum.compiler.capture.capture import capture
from sursum.compiler.function import Function
from sursum.compiler.native.build import translate
from sursum.compiler.passes import optimise

N = 64


@pytest.fixture(scope="module")
def tanh() -> Function:
    points = torch.linspace(-1.0, 1.0, N).double(), torch.linspace(0.5, -2.0, N).double()
    recorded = Function.of(capture(lambda q: (torch.tanh(q),), points, gradient=False))
    return recorded.compiled("native", title="tanh", outputs=["tanh"], proofs=points)


def test_it_has_three_units_in_the_last_place_everywhere(tanh: Function) -> None:
    rng = np.random.default_rng(0)
    sizes = np.concatenate([10.0 ** rng.uniform(-320, 2, 6 * N), rng.uniform(0.0, 1.0, 6 * N), rng.uniform(1.0, 23.0, 3 * N)])
    x = (sizes * rng.choice([-1.0, 1.0], len(sizes))).reshape(-1, N)
    with mpmath.workdps(50):
        exact = np.vectorize(lambda one: mpmath.tanh(mpmath.mpf(one)), otypes=[object])(x)
        for row, right in zip(x, exact, strict=True):
            found = tanh(torch.from_numpy(row))[0].numpy()
            assert all(abs(y - t) <= 3.0 * np.spacing(abs(float(t))) for y, t in zip(found.tolist(), right, strict=True))


def test_at_the_ends_it_is_what_the_c_library_has(tanh: Function) -> None:
    special = [0.0, -0.0, torch.inf, -torch.inf, torch.nan, 22.0, -1e308, 5e-324]
    given = torch.tensor(special * (N // len(special)), dtype=torch.float64)
    found = tanh(given)[0]
    assert torch.equal(found.nan_to_num(7.0), given.tanh().nan_to_num(7.0))
    assert torch.equal(found.signbit()[given == 0], given.signbit()[given == 0])


def test_it_leaves_short_loops_without_libmvec_as_well() -> None:
    seven, five = torch.linspace(-1.0, 1.0, 7).double()[:, None, None], torch.linspace(0.0, 1.0, 5).double()[:, None]
    points = torch.linspace(0.1, 1.3, 6).double(), torch.linspace(-0.9, 0.8, 6).double()
    graph = optimise(capture(lambda q: ((seven * q[:3] + five * q[3:]).cos().tanh(),), points, gradient=False))
    loop = re.compile(r"for \(int64_t i = 0; i < 105; i\+\+\) \{\s+const double \w+ = su_tanh\(v\d+\[i\]\);")
    assert loop.search(translate(graph, "t", frozenset())[0].source)
