"""A log density that is recorded by repeating the operators of one like it is the same recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.support.few import few
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture import repeats
from sursum.compiler.capture.capture import Capture
from sursum.compiler.capture.repeats import Repeat, RepeatingRecorder
from sursum.compiler.graph.compare import difference
from sursum.compiler.graph.graph import Graph
from sursum.compiler.recent import RECENT

DOUBLE = {"dtype": torch.float64}
ONE_TENSOR = ("one tensor", "its gradient stopped", "its gradient changed")


class Halved(torch.autograd.Function):
    """A tensor itself, whose gradient is half of what it was."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return slope / 2


ROWS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "Cauchy": lambda a, b: dist.Cauchy(a, b),
    "Exponential": lambda a, b: dist.Exponential(b),
    "Gamma": lambda a, b: dist.Gamma(b, 2.0),
    "HalfCauchy": lambda a, b: dist.HalfCauchy(b),
    "HalfNormal": lambda a, b: dist.HalfNormal(b),
    "Laplace": lambda a, b: dist.Laplace(a, b),
    "Normal": lambda a, b: dist.Normal(a, b),
    "Poisson": lambda a, b: dist.Poisson(b),
    "StudentT": lambda a, b: dist.StudentT(3.0, a, b),
    "torch": lambda a, b: torch.distributions.Normal(a, b),
    "one tensor": lambda a, b: dist.Normal(b, b),
    "its gradient stopped": lambda a, b: dist.Normal(b, b.detach()),
    "its gradient changed": lambda a, b: dist.StudentT(3.0, Halved.apply(b), b),
    "event": lambda a, b: dist.Normal(a, b).expand([3]).to_event(1),
    "unexpanded": lambda a, b: torch.distributions.Independent(
        torch.distributions.Laplace(a.expand(3), b.exp() * torch.ones(3)), 1
    ),
}


def program(make: Callable[[Tensor, Tensor], Any], data: Tensor) -> Callable[[], None]:
    def model() -> None:
        a = su.sample("a", dist.Normal(torch.zeros(2, **DOUBLE), 1.0).to_event(1))
        for k in range(4):
            fn = make(a[k % 2], a[1 - k % 2].exp())
            su.sample(f"x{k}", fn, obs=data[k] if fn.event_shape else data[k, 0])

    return model


def record(model: Callable[[], None], monkeypatch: pytest.MonkeyPatch, families: frozenset[type]) -> tuple[Graph, int]:
    """The recording, and how many densities were repeated."""
    RECENT.clear()
    monkeypatch.setattr(repeats, "FAMILIES", families)
    count = 0
    again = RepeatingRecorder._again

    def counted(self: RepeatingRecorder, repeat: Repeat, inputs: Any) -> Tensor:
        nonlocal count
        count += 1
        return again(self, repeat, inputs)

    density = su.infer.LogDensity(model)
    points = torch.tensor([0.3, -0.2], **DOUBLE), torch.tensor([-0.5, 0.4], **DOUBLE)
    with monkeypatch.context() as context:
        context.setattr(RepeatingRecorder, "_again", counted)
        graph = Capture(density, points, gradient=True, enough=lambda _: True).graph
    return graph, count


PRECISIONS = [(row, dtype) for row in ROWS for dtype in (torch.float64, torch.float32)]


@pytest.mark.parametrize(
    ("row", "dtype"),
    few(PRECISIONS, [p for p in PRECISIONS if p[1] is torch.float64 or p[0] in ("Normal", "StudentT", "event")]),
)
def test_the_recording_is_the_same(row: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    model = program(ROWS[row], torch.arange(1, 13, dtype=dtype).reshape(4, 3))
    families = repeats.FAMILIES
    plain, none = record(model, monkeypatch, frozenset())
    repeated, count = record(model, monkeypatch, families)
    assert difference(plain, repeated) is None
    assert [node.where for node in plain.nodes] == [node.where for node in repeated.nodes]
    assert none == 0
    if dtype is torch.float64 and row not in ("Poisson", *ONE_TENSOR):  # the first broadcasts, by views
        assert count == 3


def test_what_is_laid_out_otherwise_is_recorded_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scalar, a vector, one with the gradient stopped, one tensor twice: nothing is the repetition of another."""

    def model() -> None:
        a = su.sample("a", dist.Normal(torch.zeros(2, **DOUBLE), 1.0).to_event(1))
        one = torch.ones((), **DOUBLE)
        su.sample("scalar", dist.Normal(a[0], one), obs=torch.tensor(0.3, **DOUBLE))
        su.sample("vector", dist.Normal(a, one).to_event(1), obs=torch.tensor([0.3, 0.4], **DOUBLE))
        su.sample("stopped", dist.Normal(a[0].detach() * 2, one), obs=torch.tensor(0.3, **DOUBLE))
        su.sample("twice", dist.Normal(a[0].exp().requires_grad_(), a[0].exp()), obs=torch.tensor(0.3, **DOUBLE))

    families = repeats.FAMILIES
    plain, _ = record(model, monkeypatch, frozenset())
    repeated, count = record(model, monkeypatch, families)
    assert difference(plain, repeated) is None
    assert count == 0


def test_parameters_are_recorded_in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters of networks, in float32, are no tensors like others: nothing of theirs is repeated."""
    scale = torch.nn.Parameter(torch.tensor(0.7))

    def model() -> None:
        a = su.sample("a", dist.Normal(torch.zeros(2, **DOUBLE), 1.0).to_event(1))
        for k in range(3):
            su.sample(f"x{k}", dist.StudentT(3.0, a[k % 2], scale), obs=torch.tensor(0.3))

    families = repeats.FAMILIES
    plain, _ = record(model, monkeypatch, frozenset())
    repeated, _ = record(model, monkeypatch, families)
    assert difference(plain, repeated) is None
    assert not any(value.dtype is torch.float32 for value in repeated.values.values() if value.id not in repeated.constants)


def test_data_that_are_read_again_are_converted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are where the density is recorded operator by operator: else two recordings would be two graphs."""
    data = torch.tensor([[0.3, 0.4], [0.1, -0.2], [0.5, 0.6]])

    def model() -> None:
        a = su.sample("a", dist.Normal(torch.zeros(2, **DOUBLE), 1.0).to_event(1))
        for k in range(3):
            su.sample(f"x{k}", dist.Normal(a, torch.ones(2, **DOUBLE)).to_event(1), obs=data[k])
            su.factor(f"f{k}", (data[k] * a).sum())

    families = repeats.FAMILIES
    plain, _ = record(model, monkeypatch, frozenset())
    repeated, count = record(model, monkeypatch, families)
    assert difference(plain, repeated) is None
    assert count == 2


def test_a_family_of_the_program_is_run_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(dist.Normal):
        runs = 0

        def log_prob(self, value: Tensor) -> Tensor:
            type(self).runs += 1
            return super().log_prob(value)

    model = program(Counting, torch.ones(4, 3, **DOUBLE))
    Counting.runs = 0
    record(model, monkeypatch, repeats.FAMILIES)
    assert Counting.runs == 8  # in the run that finds the sites, and in the recording


def test_an_object_that_computes_its_own_density_is_asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubled(a: Tensor, b: Tensor) -> Any:
        fn = dist.Normal(a, b)
        fn.log_prob = lambda value: (value - a) * 2  # type: ignore[method-assign]
        return fn

    def model() -> None:
        a = su.sample("a", dist.Normal(torch.zeros(2, **DOUBLE), 1.0).to_event(1))
        for k, make in enumerate([dist.Normal, doubled, dist.Normal]):
            su.sample(f"x{k}", make(a[0], a[1].exp()), obs=torch.tensor(0.3, **DOUBLE))

    families = repeats.FAMILIES
    plain, _ = record(model, monkeypatch, frozenset())
    repeated, count = record(model, monkeypatch, families)
    assert difference(plain, repeated) is None
    assert count == 1


def test_the_gradient_of_a_loop_is_that_of_the_program() -> None:
    compiled = su.compile(program(ROWS["StudentT"], torch.arange(12, **DOUBLE).reshape(4, 3)), engine="torch")
    q = torch.tensor([0.7, -0.4], **DOUBLE, requires_grad=True)
    value = compiled.density(q)
    (slope,) = torch.autograd.grad(value, q)
    found, gradient = compiled.value_and_grad(q.detach().numpy())
    assert found == pytest.approx(float(value.detach()), rel=1e-15)
    torch.testing.assert_close(torch.as_tensor(gradient), slope, rtol=1e-14, atol=0.0)
