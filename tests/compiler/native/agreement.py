"""Programs in C that agree with the torch engine, and the matrices that they are given."""

from __future__ import annotations

import numpy as np
import torch

import sursum as su
from sursum.compiler.native.proof import disagreement


def matrix(rows, columns, seed=0):
    """Standard normal numbers."""
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def compiled(program, *args):
    """The density of a program in C, which agrees with torch at further points; the proof has looked at some already."""
    density = su.compile(program, *args, engine="native")
    rng = np.random.default_rng(0)
    for scale in (0.1, 1.0, 5.0):
        q = scale * rng.normal(size=density.dim)
        value, gradient = density.value_and_grad(q)
        wanted = [t.numpy() for t in density.replay(torch.from_numpy(q))]
        assert disagreement(np.array(value), wanted[0]) is None
        assert disagreement(gradient, wanted[1]) is None
    return density
