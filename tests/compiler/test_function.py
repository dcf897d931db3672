"""One way to an engine: inputs of several tensors, and one rule by which C is believed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.capture import capture
from sursum.compiler.function import Function, Inputs, batch
from sursum.compiler.native.proof import ProofError, prove
from sursum.compiler.native.rounding import fails_steadily
from sursum.errors import CompileError, EngineWarning

F64 = torch.float64


def points(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, generator=generator, dtype=F64), torch.rand(n, generator=generator, dtype=F64)


def test_a_step_on_a_batch_is_a_function_of_weights_rows_and_noise() -> None:
    """The loss of a linear regression on rows that are picked by whole numbers, in C: value and gradient by hand."""
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, -6.0], [0.5, 1.0]], dtype=F64)
    inputs = Inputs.like(torch.empty(2), torch.tensor([0, 2, 3]), torch.empty(3))

    def step(q: Tensor) -> tuple[Tensor, ...]:
        weights, rows, noise = inputs.unpack(q)
        weights = weights.detach().requires_grad_()
        loss = ((x[rows] @ weights - noise) ** 2).sum()
        return loss.reshape(1), torch.autograd.grad(loss, weights)[0]

    def at(weights: list[float], rows: list[int], noise: list[float]) -> Tensor:
        return inputs.pack(torch.tensor(weights), torch.tensor(rows), torch.tensor(noise))

    recorded = capture(step, (at([0.1, 0.2], [0, 2, 3], [1, 2, 3]), at([0.3, -0.2], [1, 3, 0], [0, 1, 5])), gradient=False)
    proofs = [at([1.0, -1.0], [3, 3, 1], [0.5, 0.25, -1.0])]
    function = Function.of(recorded).compiled("native", title="step", outputs=("loss", "gradient"), proofs=proofs)
    assert function.engine == "native"
    w, rows, noise = torch.tensor([0.5, 2.0], dtype=F64), [2, 0, 2], torch.tensor([1.0, -1.0, 0.5], dtype=F64)
    loss, slope = function(at(w.tolist(), rows, noise.tolist()))
    residual = x[rows] @ w - noise
    assert float(loss) == pytest.approx(float(residual @ residual), rel=1e-14)
    assert torch.allclose(slope, 2 * x[rows].T @ residual, rtol=1e-14)


def test_whole_numbers_outside_of_the_table_have_no_values() -> None:
    table, inputs = torch.arange(4.0, dtype=F64), Inputs.like(torch.tensor([0]), torch.empty(()))

    def picked(q: Tensor) -> tuple[Tensor, ...]:
        index, scale = inputs.unpack(q)
        return (table[index] * scale,)

    recorded = capture(picked, (torch.tensor([1.0, 2.0], dtype=F64), torch.tensor([3.0, 5.0], dtype=F64)), gradient=False)
    outside = torch.tensor([7.0, 1.0], dtype=F64)
    function = Function.of(recorded).compiled("native", title="picked", outputs=("picked",), proofs=[outside])
    assert function(torch.tensor([2.0, 3.0], dtype=F64))[0].tolist() == [6.0]
    assert function(outside)[0].isnan().all()
    assert fails_steadily(function.replay, outside)
    assert not fails_steadily(function.replay, torch.tensor([2.0, 3.0], dtype=F64))


def test_many_points_at_once_are_those_points_one_by_one() -> None:
    recorded = capture(lambda q: (q.exp().cumsum(0), q.sum()), points(3), gradient=False)
    rows = torch.stack(points(3))
    found = batch(recorded)(rows)
    for k, row in enumerate(rows):
        for one, many in zip(Function.of(recorded)(row), found, strict=True):
            assert torch.equal(one, many[k])


def test_what_has_no_c_is_run_by_torch_with_one_note() -> None:
    recorded = capture(lambda q: (torch.linalg.matrix_exp(q.reshape(2, 2)),), points(4), gradient=False)
    function = Function.of(recorded)
    with pytest.warns(EngineWarning, match="the torch engine runs exponential, many times slower than C would"):
        found = function.compiled(None, title="exponential", outputs=("exponential",), proofs=points(4))
    assert found.engine == "torch"
    with pytest.raises(CompileError, match="matrix_exp"):
        function.compiled("native", title="exponential", outputs=("exponential",), proofs=points(4))


def test_the_program_is_compared_whichever_engine_runs() -> None:
    function = Function.of(capture(lambda q: (q.exp(),), points(2), gradient=False))
    checked: list[str] = []
    for engine in (None, "native", "torch"):
        function.compiled(engine, title="exp", outputs=("exp",), proofs=points(2), check=lambda: checked.append("here"))
    assert len(checked) == 3


def test_c_that_is_wrong_is_never_used() -> None:
    one, other = (
        Function.of(capture(fn, points(2), gradient=False)) for fn in (lambda q: (q.exp(),), lambda q: (q.exp() + 1e-8,))
    )
    native = other.compiled("native", title="off", outputs=("exp",), proofs=points(2)).native
    assert native is not None
    with pytest.raises(ProofError, match="the compiled exp disagrees with the captured graph at proof point 0"):
        prove(native, one.replay, points(2), ("exp",))


def test_an_ill_conditioned_process_is_compiled_for_svi_as_for_chains() -> None:
    """A covariance of condition 10¹⁰: its gradient has digits that rounding decides, in every order of the same sums."""
    x = torch.linspace(0, 1, 40, dtype=F64)

    def model() -> None:
        length = su.sample("length", dist.LogNormal(torch.tensor(0.0, dtype=F64), 0.3))
        covariance = torch.exp(-0.5 * ((x[:, None] - x) / length) ** 2) + 1e-9 * torch.eye(40, dtype=F64)
        su.sample("y", dist.MultivariateNormal(torch.zeros_like(x), covariance_matrix=covariance), obs=torch.sin(6 * x))

    svi = su.infer.SVI(model, su.infer.autoguide.AutoNormal(model), su.optim.Adam(lr=1e-6), seed=0)
    assert svi.run(2).engine == "native"
