"""The contract of decompositions: operators without a lowering are recorded as others. C has torch's values and gradients."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.compiler.native.called import Called
from tests.compiler.native.decomposed_operators import ROWS, Case
from torch import Tensor

from sursum.compiler.capture.capture import capture
from sursum.compiler.capture.decompositions import _OURS, decomposition
from sursum.compiler.graph.graph import Graph
from sursum.compiler.native.build import build
from sursum.compiler.native.library.library import NativeFunction
from sursum.compiler.native.lower.table import names
from sursum.compiler.passes import optimise

VERSION = tuple(int(part) for part in torch.__version__.split(".")[:2])
# Before 2.13 torch has no decomposition of these pools, and the torch engine runs them.
LATER = {"aten.max_pool3d_with_indices_backward", "aten.adaptive_max_pool2d_backward"} if VERSION < (2, 13) else set()
HERE = {name: cases for name, cases in ROWS.items() if name not in LATER}
CASES = [(name, k) for name, cases in HERE.items() for k in range(len(cases))]
aten = torch.ops.aten


def value_and_gradient(case: Case, q: Tensor) -> list[Tensor]:
    """What a program gives, and the gradient of a weighted sum of it."""
    with torch.enable_grad():
        q = q.detach().requires_grad_()
        value = case(q[:12].view(3, 4), q[12:].view(3, 4))
        weights = torch.linspace(0.5, 1.5, value.numel(), dtype=torch.float64).reshape(value.shape)
        (slope,) = torch.autograd.grad((value * weights).sum() + 0 * q.sum(), q)
    return [value.detach(), slope]


def point(seed: int) -> Tensor:
    """x and y."""
    return torch.randn(24, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def graph() -> Graph:
    """One graph of all programs."""
    cases = [case for rows in HERE.values() for case in rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        captured = capture(lambda q: [t for c in cases for t in value_and_gradient(c, q)], (point(0), point(1)), gradient=False)
    return optimise(captured)


@pytest.fixture(scope="module")
def found(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> list[list[np.ndarray]]:
    """What its C gives at three points."""
    run: NativeFunction = build(graph, title="decomposed", directory=tmp_path_factory.mktemp("cache"))
    return [run.outputs(point(seed).numpy()) for seed in (2, 3, 4)]


@pytest.mark.parametrize(("name", "k"), CASES)
def test_c_gives_what_torch_gives(found: list[list[np.ndarray]], name: str, k: int):
    at = 2 * CASES.index((name, k))
    for seed, outputs in zip((2, 3, 4), found, strict=True):
        with warnings.catch_warnings(), Called() as called:
            warnings.simplefilter("ignore")  # torch says of some that they are in beta
            wanted = value_and_gradient(ROWS[name][k], point(seed))
        assert name in called.names
        for mine, its in zip(outputs[at : at + 2], wanted, strict=True):
            np.testing.assert_allclose(mine, its.numpy(), rtol=1e-11, atol=1e-11)


def test_none_of_them_is_left_in_the_graph(graph: Graph):
    assert {name for node in graph.nodes for name in names(node)} & ROWS.keys() == set()


def test_every_decomposition_of_ours_has_a_row():
    def kind(name: str) -> str:  # the same for all numbers of dimensions
        return re.sub("[123]d|_forward_only$", "", name)

    assert {kind(str(op).rpartition(".")[0]) for op in _OURS} <= {kind(name) for name in ROWS}


@pytest.mark.skipif(VERSION >= (2, 15), reason="torch has mended it")
def test_an_unfaithful_decomposition_of_torchs_is_not_taken():
    # torch's gives another target mask than the operator does.
    parts = decomposition(aten.multilabel_margin_loss_forward.default)
    assert parts is not None
    with pytest.raises(AssertionError):
        parts(point(0)[:12].view(3, 4), torch.tensor([[0, 3, -1, 1]] * 3), 1)
    graph = capture(
        lambda q: (torch.nn.functional.multilabel_margin_loss(q.view(3, 4), torch.tensor([[0, 3, -1, 1]] * 3)),),
        (point(0)[:12], point(1)[:12]), gradient=False,
    )  # fmt: skip
    assert [node.op for node in graph.nodes] == [aten.multilabel_margin_loss_forward.default]


def test_what_goes_wrong_is_said_by_the_operator_itself():
    with pytest.raises(RuntimeError, match="size of tensor a .4. must match"):
        capture(lambda q: q.masked_scatter(torch.ones(4, dtype=torch.bool), q[:2]).sum(), (point(0), point(1)), gradient=True)


def test_a_mask_that_needs_more_than_there_is_leaves_no_density(tmp_path: Path):
    """Where torch raises an error, as an index outside of its table does."""

    def density(q: Tensor) -> Tensor:
        return q[:4].masked_scatter(q[:4] > 0, q[4:6]).sum()

    q = torch.tensor([1.0, -1.0, -1.0, 1.0, 0.5, 0.25], dtype=torch.float64)
    graph = optimise(capture(density, (q, q + 0.1), gradient=True))
    run = build(graph, title="masked", directory=tmp_path)
    assert run.value_and_grad(q.numpy())[0] == pytest.approx(-1.25)
    assert run.value_and_grad(np.abs(q.numpy()))[0] == -np.inf
