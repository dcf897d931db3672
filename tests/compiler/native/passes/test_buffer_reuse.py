"""Where values lie: memory is used again, but not that of a result which is still to be handed out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.replay import Replay
from sursum.compiler.native.build import build
from sursum.compiler.passes import optimise


def test_a_result_that_took_over_memory_keeps_it_to_the_end(tmp_path: Path) -> None:
    """Gradients that are zero but for a window are made in place; what is computed after them must not lie there."""

    def program(q: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        for k in range(6):
            zeros = torch.ops.aten.slice_backward(q[:0], [24], 0, 0, 0, 1)
            found.append(torch.ops.aten.slice_backward(q[k : k + 1] * 2, [24], 0, 23, 24, 1) + zeros)
            found.append((q.cumsum(0) * (k + 1)).flip(0).cumsum(0).sum())
        return found

    generator = torch.Generator().manual_seed(0)
    points = tuple(torch.rand(24, generator=generator, dtype=torch.float64) for _ in range(2))
    graph = optimise(capture(program, points, gradient=False))
    native, replay = build(graph, title="memory", directory=tmp_path), Replay(graph)
    for found, wanted in zip(native.outputs(points[1].numpy()), replay(points[1]), strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-12)
