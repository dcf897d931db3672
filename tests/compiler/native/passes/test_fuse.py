"""Fusion moves a read into a later loop: never past a write that takes over the memory which is read."""

import numpy as np
import pytest
import torch

from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.replay import Replay
from sursum.compiler.native.build import build
from sursum.compiler.passes import optimise


def by_select(x, q):
    return x + torch.ops.aten.select_backward(q[4:5].sum(), [3], 0, 1)


def by_index(x, q):
    return torch.index_add(x, 0, torch.tensor([1, 0, 1]), q[2:5].exp())


@pytest.mark.parametrize("added", [by_select, by_index])
def test_a_value_is_read_before_a_later_one_takes_over_its_memory(added, tmp_path):
    """−x is so cheap that it is worth going into the loop that reads it, but y = x + … is made in the memory of x."""

    def fn(q):
        x = q[:3].exp() * q[3]
        minus = -x
        return (minus + added(x, q),)

    rng = np.random.default_rng(0)
    points = [torch.from_numpy(rng.normal(size=5)) for _ in range(3)]
    graph = optimise(capture(fn, (points[0], points[1]), gradient=False))
    native = build(graph, title="negative", directory=tmp_path)
    np.testing.assert_allclose(native.outputs(points[2].numpy())[0], Replay(graph)(points[2])[0].numpy(), rtol=1e-12)
