"""The contract of densities: C agrees with the graph's replay and with torch itself, near and far, whatever the program."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
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
from tests.distributions.families import ROWS as FAMILY_ROWS
from tests.support.few import few

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.derivatives import ExactDerivatives
from sursum.compiler.compiled import CompiledDensity, compile_density
from sursum.compiler.native.proof import disagreement
from sursum.compiler.native.rounding import rounding
from sursum.density.log_density import LogDensity
from sursum.errors import EngineWarning


def points(dim: int) -> list[np.ndarray]:
    """Near, far, and where nothing is finite."""
    rng = np.random.default_rng(3)
    found = [scale * rng.normal(size=dim) for scale in (0.0, 0.5, 1.0, 4.0, 40.0, 400.0)]
    for number in (np.inf, -np.inf, np.nan):
        q = rng.normal(size=dim)
        q[rng.integers(dim)] = number
        found.append(q)
    return found


def check(program: Callable[[], object], *, tolerance: float = 1e-9, fused: bool = False) -> CompiledDensity:
    """Compiles a program natively and compares it with its replay, and with the program run by torch."""
    density = LogDensity(program, (), {})
    compiled = compile_density(density, "native")
    assert compiled.engine == "native"
    assert compiled.native is not None
    assert compiled.replay is not None
    finite = 0
    for q in points(density.dim):
        value, gradient = compiled.value_and_grad(q)
        wanted_value, wanted_gradient = (t.numpy() for t in compiled.replay(torch.from_numpy(q)))
        if not np.isfinite(q).all() and fused:  # what torch's fused attention makes of NaN is its own affair
            assert not np.isfinite(value)
            continue
        pairs = [(np.array(value), wanted_value)] + ([(gradient, wanted_gradient)] if np.isfinite(wanted_value) else [])
        wrong = [disagreement(*pair) for pair in pairs]
        if any(wrong):  # only by what rounding does to the replay itself, and only far out
            assert np.abs(q).max() > 2, wrong
            blurs = rounding(compiled.replay, torch.from_numpy(q))
            if np.isfinite(blurs[0]):  # else rounding decides whether there is a number at all
                for pair, blur in zip(pairs, blurs, strict=False):
                    assert disagreement(*pair, blur) is None
            continue
        if not np.isfinite(value):
            continue
        finite += 1
        if np.abs(q).max() < 10:
            point = torch.from_numpy(q).requires_grad_()
            with ExactDerivatives():
                eager = density(point)
                (slope,) = torch.autograd.grad(eager, point)
            assert value == pytest.approx(float(eager.detach()), rel=tolerance, abs=tolerance)
            np.testing.assert_allclose(
                gradient, slope.numpy(), rtol=tolerance, atol=tolerance * max(1.0, float(slope.abs().max()))
            )
    assert finite >= 2
    return compiled


def precision(name: str) -> float:
    """How well torch's own result is to be met: of a program in single precision not better than that."""
    return 1e-9 if name != "GeneralizedPareto" else 1e-4


#: As unknowns the continuous ones are tried always, observed in the long run.
OBSERVED = [
    pytest.param(name, marks=[pytest.mark.slow] if continuous(name) else [])
    for name, (_, _, value) in DISTRIBUTIONS.items() if value is not None
]  # fmt: skip


@pytest.mark.parametrize("name", OBSERVED)
def test_observed(name: str) -> None:
    check(observed(name), tolerance=precision(name))


LATENT = [name for name in DISTRIBUTIONS if continuous(name)]
# A family by its first parametrisation; by the others in the slow suite.
FIRST = list({name.split(" of ")[0]: name for name in reversed(LATENT)}.values())


@pytest.mark.parametrize("name", few(LATENT, FIRST))
def test_latent(name: str) -> None:
    check(latent(name), tolerance=precision(name))


#: Supports whose bijections are those of others.
VARIANTS = (
    *("interval with one tensor", "half_open_interval with tensors", "half-lines on either side", "less_than"),
    *("greater_than a tensor", "ordered in an interval", "row_stochastic", "circular", "zero_sum"),
)


@pytest.mark.parametrize("name", few(CONSTRAINTS, [name for name in CONSTRAINTS if name not in VARIANTS]))
def test_constraint(name: str) -> None:
    check(constrained(name), tolerance=1e-4)  # the site is in single precision


# Of activations a few of each kind: all are rows of test_operators.py, or made of such, where every element is looked at.
# tests/test_torch_layers.py compiles every layer, test_convolution.py more windows.
NETS = (
    *("MLP with ReLU", "MLP with GELU", "MLP with PReLU", "MLP with softmax", "layer norm", "batch norm", "weight norm"),
    *("embedding with padding", "embedding bag", "conv1d", "conv2d", "LSTM", "RNN", "causal attention", "transformer"),
)


@pytest.mark.parametrize("name", few(NETWORKS, NETS))
def test_network(name: str) -> None:
    check(network(name), fused="attention" in name or name == "transformer")


def test_what_has_no_c_goes_to_torch_with_a_note() -> None:
    def model() -> None:
        a = su.sample("a", dist.Normal(torch.zeros(2, 2), 1.0).to_event(2))
        su.factor("f", -torch.linalg.matrix_exp(a).square().sum())

    with pytest.warns(EngineWarning, match=r"aten\.linalg_matrix_exp"):
        compiled = compile_density(LogDensity(model, (), {}))
    assert compiled.engine == "torch"


def test_every_distribution_has_a_row() -> None:
    kinds = {
        kind for kind in map(dist.__dict__.get, dist.__all__) if isinstance(kind, type) and issubclass(kind, dist.Distribution)
    }
    made = {type(make(torch.zeros(count, dtype=torch.float64))) for count, make, _ in DISTRIBUTIONS.values()}
    # The others are in the contract of our own families, which compares them in C as well.
    ours = {type(row.make(torch.full((row.count,), 0.5, dtype=torch.float64))) for row in FAMILY_ROWS.values()}
    # An `Empirical` is of given draws, and a `CustomDist` of a density that the user writes: they have tests of their own.
    assert kinds - made - ours == {dist.Distribution, dist.Empirical, dist.CustomDist}
