"""Differential fuzzing: C equals torch in value and gradient, on random programs at ordinary and at extreme points."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.compiler.native.fuzz import STEPS, UNKNOWNS, Code, Program
from torch import Tensor

from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.replay import Replay
from sursum.compiler.native.build import build
from sursum.compiler.native.library.library import NativeFunction
from sursum.compiler.native.proof import disagreement
from sursum.compiler.native.rounding import rounding
from sursum.compiler.passes import optimise

INF, NAN = float("inf"), float("nan")
EXTREME = [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 1e-300, 5e-324, 1e30, -1e30, 2.0, 0.5, -3.0, 40.0, -700.0]

#: No shrinking: every attempt would be a compilation, and the message names the program that is at fault.
PHASES = (Phase.explicit, Phase.generate)

numbers = st.integers(0, 500)
codes: st.SearchStrategy[Code] = st.tuples(
    st.integers(0, len(STEPS) - 1), st.integers(0, 5), st.integers(0, 5), st.integers(0, 11)
)
programs = st.builds(Program.of, numbers, numbers, st.lists(codes, min_size=1, max_size=8))


def points(seed: int) -> list[Tensor]:
    """Ordinary points, repeated numbers, and some with extreme ones among ordinary ones."""
    rng = np.random.default_rng(seed)
    found = [rng.normal(size=UNKNOWNS), 3 * rng.normal(size=UNKNOWNS), rng.integers(-2, 3, UNKNOWNS).astype(float)]
    for share in (0.15, 0.5):
        q = rng.normal(size=UNKNOWNS)
        chosen = rng.random(UNKNOWNS) < share
        q[chosen] = rng.choice(EXTREME, chosen.sum())
        found.append(q)
    return [torch.from_numpy(q) for q in found]


def compiled(found: list[Program], directory: Path) -> tuple[NativeFunction, Replay]:
    """All programs in one C function, and in one replay: value and gradient of each."""

    def together(q: Tensor) -> list[Tensor]:
        return [result for program in found for result in program.value_and_grad(q)]

    first, second = (torch.linspace(low, low + 2.2, UNKNOWNS, dtype=torch.float64) for low in (0.1, 0.15))
    graph = optimise(capture(together, (first, second), gradient=False))
    graph = replace(graph, guards=())  # of one program, they would end the others
    return build(graph, title="fuzz", directory=directory), Replay(graph, guards=False)


def check(found: list[Program], directory: Path, seed: int) -> None:
    """Compares all results at all points; what rounding does to torch's own result is no difference."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        native, replay = compiled(found, directory)
    for q in points(seed):
        try:
            wanted = [t.numpy() for t in replay(q)]
        except RuntimeError:
            continue  # torch itself refuses: a matrix of NaN has no factors
        results = native.outputs(q.numpy())
        wrong = [k for k, (a, b) in enumerate(zip(results, wanted, strict=True)) if disagreement(a, b)]
        blurs = rounding(replay, q) if wrong else []
        for k in wrong:
            if k % 2 and not np.isfinite(wanted[k - 1]).all():
                continue  # the gradient of what is no number
            if (blurs[k] < 1e-3 * max(1.0, float(np.abs(wanted[k]).max(initial=0.0, where=np.isfinite(wanted[k]))))).all():
                assert disagreement(results[k], wanted[k], blurs[k]) is None, (
                    found[k // 2],
                    "gradient" if k % 2 else "value",
                    q,
                )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(max_examples=5, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(found=st.lists(programs, min_size=5, max_size=8), seed=st.integers(0, 10**6))
def test_random_programs(directory: Path, found: list[Program], seed: int) -> None:
    check(found, directory, seed)


@pytest.mark.slow
@settings(max_examples=130, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(found=st.lists(programs, min_size=80, max_size=80), seed=st.integers(0, 10**6))
def test_ten_thousand_random_programs(directory: Path, found: list[Program], seed: int) -> None:
    check(found, directory, seed)


@pytest.mark.parametrize("operator", range(len(STEPS)))
def test_every_step_is_taken_somewhere(operator: int) -> None:
    """No step of the fuzzer is one that torch always refuses."""
    found = (Program.of(first, second, [(operator, a, b, p)]) for first in range(0, 60, 3) for second in (first, 6, 2)
             for a in (0, 1) for b in (0, 1) for p in (0, 1))  # fmt: skip
    assert any(program.steps for program in found)
