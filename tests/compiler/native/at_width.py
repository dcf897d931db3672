"""What torch makes of the programs of `densities.py`, and the tests that hold us to its kernels, for a process at another width
of vectors (see `tests/support/capabilities.py`). ``python -m tests.compiler.native.at_width FILE`` writes the one and runs the
others."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.compiler.native.densities import (
    CONSTRAINTS,
    DISTRIBUTIONS,
    NETWORKS,
    constrained,
    continuous,
    latent,
    network,
    observed,
)
from tests.support.paths import ROOT

from sursum.compiler.capture.derivatives import ExactDerivatives
from sursum.density.log_density import LogDensity

#: What compares numbers with torch's kernels, or rests on them. (test_operators.py asks torch at each width by itself.)
FILES = ("tests/distributions/test_bijections.py", "tests/compiler/native/test_fuzz.py")

#: Of a program, its log density and gradient at each of its points, one after another.
Values = NDArray[np.float64]


def programs() -> dict[str, Callable[[], object]]:
    """Each family by its first parametrisation, each constraint, and networks; activations are rows of test_operators.py."""
    families = list({name.split(" of ")[0]: name for name in reversed(DISTRIBUTIONS)}.values())
    return {
        **{name: latent(name) if continuous(name) else observed(name) for name in families},
        **{f"constraint {name}": constrained(name) for name in CONSTRAINTS},
        **{f"network {name}": network(name) for name in NETWORKS if not name.startswith("MLP")},
    }


def by_torch(program: Callable[[], object]) -> Values:
    """What torch gives for a program, at the width that it uses in this process."""
    density = LogDensity(program, (), {})
    rng, found = np.random.default_rng(3), []
    for scale in (0.2, 0.5, 1.0):
        point = torch.from_numpy(scale * rng.normal(size=density.dim)).requires_grad_()
        value = density(point)
        found.append([float(value.detach()), *torch.autograd.grad(value, point)[0].tolist()])
    return np.array(found)


def all_by_torch() -> dict[str, Values]:
    """The same for every program."""
    with warnings.catch_warnings(), ExactDerivatives():
        warnings.simplefilter("ignore")
        return {name: by_torch(program) for name, program in programs().items()}


if __name__ == "__main__":
    print(torch.backends.cpu.get_cpu_capability().lower())
    with Path(sys.argv[1]).open("wb") as file:
        np.savez(file, **all_by_torch())
    options = ("-q", "-p", "no:cacheprovider", "-m", "not slow")
    raise SystemExit(pytest.main([*options, *(str(ROOT / name) for name in FILES)]))
