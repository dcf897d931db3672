"""The passes: graphs in double precision with exact constants, no digits lost to folding, nothing computed twice; and dumps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, HalfCauchy, Independent, Normal, Poisson, biject_to, constraints

import sursum as su
import sursum.distributions as dist
from sursum.compiler import passes
from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.graph import Graph, is_inner, made_by, refs_of
from sursum.compiler.graph.replay import BatchReplay, Replay
from sursum.compiler.native.build import translate
from sursum.compiler.passes import optimise

aten = torch.ops.aten
F32, F64 = torch.float32, torch.float64


def points(n: int, count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, generator=generator, dtype=F64) for _ in range(count)]


def doubled(program: Callable[[Tensor], Any], n: int, gradient: bool = True) -> Graph:
    first, second = points(n, 2)
    graph = optimise(capture(program, (first, second), gradient=gradient))
    made = {id for node in graph.nodes for id in made_by(node)} | {graph.input} | graph.constants.keys()
    read = {ref.value for node in graph.nodes for ref in refs_of(node)} | {ref.value for ref in graph.outputs}
    read |= {guard.ref.value for guard in graph.guards}
    assert read <= made <= graph.values.keys()
    assert graph.constants.keys() <= read
    assert all(value.dtype is not F32 for value in graph.values.values())
    assert all(graph.constants[id].dtype is graph.values[id].dtype for id in graph.constants)
    assert all(graph.constants[id].shape == (graph.values[id].numel,) for id in graph.constants)
    return graph


def operators(graph: Graph) -> list[str]:
    return [node.op.__name__ for node in graph.nodes]


def radon(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """A hierarchical density in `dtype` on data that are the same numbers in every dtype."""
    generator = torch.Generator().manual_seed(2)
    county = torch.randint(0, 7, (50,), generator=generator)
    floor = torch.randint(0, 2, (50,), generator=generator).to(dtype)
    y = (torch.randint(-8, 9, (50,), generator=generator) / 4).to(dtype)

    def program(q: Tensor) -> Tensor:
        mean, tau, sigma, z = (part.to(dtype) for part in (q[0], q[1], q[2], q[3:]))
        one, zero = torch.ones((), dtype=dtype), torch.zeros((), dtype=dtype)
        positive = biject_to(constraints.positive)
        total = Normal(zero, 10 * one).log_prob(mean)
        for x in (tau, sigma):
            total = total + HalfCauchy(one / 3).log_prob(positive(x)) + positive.log_abs_det_jacobian(x, positive(x))
        total = total + Independent(Normal(torch.zeros(7, dtype=dtype), one), 1).log_prob(z)
        intercept = mean + positive(tau) * z
        scaled = (y - y.mean()) / y.std()  # folded: in float32 it would lose half of its digits
        return total + Normal(intercept[county] - 0.7 * floor, positive(sigma)).log_prob(scaled).sum()

    return program


def tensors(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    def program(q: Tensor) -> Tensor:
        x = q.to(dtype)
        filled = torch.full((3,), 0.1, dtype=dtype) + torch.linspace(0, 1, 3, dtype=dtype)
        table = torch.zeros(2, 3, dtype=dtype)
        table[0] = x
        table[1] = torch.arange(0, 0.75, 0.25, dtype=dtype).exp()
        summed = table.sum(0, dtype=dtype).softmax(0, dtype=dtype) * x.new_tensor([1.0, 2.0, 3.0]).log()
        half = x.to(torch.float16 if dtype is F32 else F64)
        return (summed * filled).sum() + table.logsumexp(1).sum() + half.sum().to(dtype) * 2

    return program


@pytest.mark.parametrize(("program", "n"), [(radon, 10), (tensors, 3)])
def test_a_program_in_single_precision_becomes_the_one_in_double(
    program: Callable[[torch.dtype], Callable[[Tensor], Tensor]], n: int
) -> None:
    replay = Replay(doubled(program(F32), n))
    for q in points(n, 6)[2:]:
        x = q.clone().requires_grad_()
        value = program(F64)(x)
        (slope,) = torch.autograd.grad(value, x)
        found = replay(q)
        torch.testing.assert_close(found[0], value.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found[1], slope, rtol=1e-12, atol=1e-12)


def test_constants_keep_their_value() -> None:
    tenth = torch.tensor([0.1, 0.2])
    graph = doubled(lambda q: (q * tenth).sum(), 2)
    (constant,) = [constant for constant in graph.constants.values() if constant.numel() == 2]
    assert constant.tolist() == tenth.tolist() != [0.1, 0.2]


@pytest.mark.parametrize(
    "program",
    [
        lambda q, dtype: (q * (torch.tensor([1, 2, 3]) / 3)).sum(),
        lambda q, dtype: (torch.tensor([1, 2, 3]).log() * q).sum(),
        lambda q, dtype: (torch.arange(3) * 0.1 * q).sum(),
        lambda q, dtype: ((q > 0) * 0.3).sum() * q.sum(),
        lambda q, dtype: (torch.where(q > 0, 0.1, 0.7) * q).sum(),
        lambda q, dtype: (torch.full((3,), 0.1) * q).sum() + torch.linspace(0, 1, 7).sum() * q[0],
        lambda q, dtype: ((q > 0).sum() / 3) * q.sum() + (q > 0).to(dtype).mean() * 0.1 * q[0],
        lambda q, dtype: (q * torch.scalar_tensor(0.1)).sum() + (torch.eye(3) / 3 @ q.to(dtype)).sum(),
    ],
)
def test_integers_become_double_where_torch_makes_them_floats(program: Callable[..., Tensor]) -> None:
    torch.set_default_dtype(F64)
    try:
        expected = [program(q, F64) for q in points(3, 6)[2:]]
    finally:
        torch.set_default_dtype(F32)
    replay = Replay(doubled(lambda q: program(q, F32), 3))
    for q, value in zip(points(3, 6)[2:], expected, strict=True):
        torch.testing.assert_close(replay(q)[0], value, rtol=1e-14, atol=1e-14)


def test_what_does_not_depend_on_the_unknowns_is_computed_once() -> None:
    data = torch.arange(1.0, 5.0)

    def program(q: Tensor) -> Tensor:
        table = torch.zeros(4)
        table[1:] = data[1:].log().cumsum(0)
        return q.sum() * (table * data.std()).sum()

    graph = doubled(program, 2)
    assert operators(graph) == ["sum.default", "mul.Tensor"]
    wide = data.double()
    factor = (torch.cat([torch.zeros(1, dtype=F64), wide[1:].log().cumsum(0)]) * wide.std()).sum()
    value, slope = Replay(graph)(points(2, 1)[0])
    torch.testing.assert_close(value, points(2, 1)[0].sum() * factor, rtol=1e-15, atol=0)
    torch.testing.assert_close(slope, factor.expand(2), rtol=1e-15, atol=0)


def test_shapes_alone_make_constants() -> None:
    graph = doubled(lambda q: (q + torch.ones_like(q) * 2 + q.new_full((2,), 3.0) + torch.zeros_like(q)).sum(), 2)
    assert operators(graph).count("add.Tensor") == 3
    assert not [name for name in operators(graph) if "like" in name or "new_" in name]
    assert Replay(graph)(torch.zeros(2, dtype=F64))[0].item() == 10.0


def test_uninitialised_memory_is_zero() -> None:
    def program(q: Tensor) -> tuple[Tensor, ...]:
        x = torch.empty(3, dtype=F64)
        x[0] = q[0]
        return x, torch.empty_like(q)

    replay = Replay(doubled(program, 2, gradient=False))
    assert [found.tolist() for found in replay(torch.tensor([4.0, 5.0], dtype=F64))] == [[4.0, 0.0, 0.0], [0.0, 0.0]]


def test_equal_nodes_and_constants_become_one() -> None:
    def program(q: Tensor) -> Tensor:
        twice = (q.exp() * torch.tensor(2.0)).sum() + (q.exp() * torch.tensor(2.0)).sum()
        return twice + (q * -0.0).sum() + (q * 0.0).sum()

    graph = doubled(program, 2)
    assert operators(graph).count("exp.default") == 1
    assert operators(graph).count("sum.default") == 3
    value, slope = Replay(graph)(torch.zeros(2, dtype=F64))
    assert value.item() == 8.0
    assert slope.tolist() == [4.0, 4.0]


def test_a_number_and_its_type_are_told_apart() -> None:
    program = lambda q: (torch.copysign(torch.ones(2), q * 0.0).sum() - torch.copysign(torch.ones(2), q * -0.0).sum(),)
    (found,) = Replay(doubled(program, 2, gradient=False))(torch.ones(2, dtype=F64))
    assert found.item() == 4.0


def test_copies_are_removed_unless_they_are_written() -> None:
    def program(q: Tensor) -> Tensor:
        plain = q[1:].to(F32)
        kept = q.reshape(2, 2).t().contiguous().reshape(4)
        written = q.clone()
        written[0] = 7.0
        return (plain * kept[1:]).sum() + (written * q).sum()

    graph = doubled(program, 4)
    assert "_to_copy.default" not in operators(graph)
    q = points(4, 3)[2].requires_grad_()
    kept = q.reshape(2, 2).t().reshape(4)
    value = (q[1:] * kept[1:]).sum() + 7 * q[0] + (q[1:] ** 2).sum()
    (slope,) = torch.autograd.grad(value, q)
    found = Replay(graph)(q.detach())
    torch.testing.assert_close(found[0], value.detach())
    torch.testing.assert_close(found[1], slope)


def test_a_copy_outlives_a_write_to_its_original() -> None:
    def program(q: Tensor) -> tuple[Tensor, ...]:
        x = q * 2
        before = x.clone()
        window = x[1:].clone()
        x.add_(1.0)
        return before, window, x

    graph = doubled(program, 3, gradient=False)
    q = points(3, 3)[2]
    for found in (Replay(graph)(q), tuple(item[0] for item in BatchReplay(graph).mapped(q[None]))):
        assert torch.equal(found[0], 2 * q)
        assert torch.equal(found[1], 2 * q[1:])
        assert torch.equal(found[2], 2 * q + 1)


def test_one_copy_of_a_window_read_in_other_shapes() -> None:
    def program(q: Tensor) -> Tensor:
        x = q.to(F32).reshape(2, 3)
        y = q[0].expand(3).to(F32).clone()
        return (x[:, 1] * y[1:].reshape(2)).sum() + x.t()[2].sum() * y.reshape(3, 1).sum()

    q = points(6, 3)[2]
    expected = (q[1] + q[4]) * q[0] + (q[2] + q[5]) * 3 * q[0]
    torch.testing.assert_close(Replay(doubled(program, 6))(q)[0], expected, rtol=1e-14, atol=1e-14)


def test_a_first_power_is_a_copy() -> None:
    """As the derivative of a square has it."""
    graph = doubled(lambda q: -(q**2).sum(), 3)
    assert sum("pow" in name for name in operators(graph)) == 1
    q = torch.tensor([-0.0, 2.0, torch.nan], dtype=F64)
    powers = doubled(lambda q: (q**1.0, (q > 1).long() ** 1.0, q**1, q**-1.0), 3, gradient=False)
    assert sum("pow" in name for name in operators(powers)) == 1
    for found, wanted in zip(Replay(powers)(q), (q, (q > 1).double(), q, 1 / q), strict=True):
        assert found.dtype == F64
        assert torch.equal(found.nan_to_num(7.0), wanted.nan_to_num(7.0))
        assert torch.equal(found.signbit(), wanted.signbit())


def test_a_guard_looks_at_the_elements_of_its_condition() -> None:
    def program(q: Tensor) -> Tensor:
        return Normal(q[:2], q[2:].exp()).log_prob(torch.zeros(2)).sum()

    graph = doubled(program, 4)
    assert not any("all" in name for name in operators(graph))
    assert [guard.ref.size for guard in graph.guards] == [(2,), (2,)]
    q = torch.tensor([0.3, -0.2, 0.1, 0.0], dtype=F64)
    assert torch.isfinite(Replay(graph)(q)[0])
    for place, wrong in ((1, torch.nan), (3, -1e6)):  # no number; a scale that is no longer positive
        at = q.clone()
        at[place] = wrong
        assert Replay(graph)(at)[0] == -torch.inf


def test_guards_on_equal_conditions_become_one() -> None:
    program = lambda q: sum(Normal(0.0, q[0].exp()).log_prob(torch.tensor(y)) for y in (1.0, 2.0))
    assert len(doubled(program, 2).guards) == 1


def test_data_alone_are_checked_in_double_precision() -> None:
    def program(q: Tensor) -> Tensor:
        assert torch._is_all_true(torch.tensor(1.0) + 1e-9 > 1.0)  # in float32 they are equal
        return q.sum()

    assert doubled(program, 1).guards == ()


def test_a_guard_folds_with_what_it_checks() -> None:
    def program(q: Tensor) -> Tensor:
        assert torch._is_all_true(torch.zeros_like(q).exp() > 0)
        return q.sum()

    assert doubled(program, 2).guards == ()


def test_a_guard_that_fails_in_double_precision_is_an_error() -> None:
    def program(q: Tensor) -> Tensor:
        one = torch.ones_like(q.to(F32))
        assert torch._is_all_true(one + 1e-9 == 1.0)
        return q.sum()

    with pytest.raises(AssertionError):
        doubled(program, 2)


def test_a_network_in_single_precision_becomes_the_one_in_double() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.LayerNorm(4), nn.Linear(4, 2)).eval()
    lstm = nn.LSTM(2, 3, batch_first=True).eval()
    x = torch.randn(2, 5, 3)

    def program(q: Tensor, dtype: torch.dtype = F32) -> Tensor:
        head = net[0].weight.to(dtype) * q[0].to(dtype)
        hidden = torch.func.functional_call(net, {"0.weight": head}, (x.to(dtype),))
        out, _ = torch.func.functional_call(lstm, {"bias_ih_l0": q[1:].to(dtype)}, (hidden,))
        return out.pow(2).sum()

    replay = Replay(doubled(program, 13))
    net.double()
    lstm.double()
    q = points(13, 3)[2].requires_grad_()
    value = program(q, F64)
    (slope,) = torch.autograd.grad(value, q)
    found = replay(q.detach())
    torch.testing.assert_close(found[0], value.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[1], slope, rtol=1e-12, atol=1e-12)


# Guards that are proved


def positive_check(expression: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def program(q: Tensor) -> Tensor:
        x = expression(q)
        assert torch._is_all_true(x >= 0)
        return x.sum()

    return program


@pytest.mark.parametrize(
    ("expression", "proved"),
    [
        (lambda q: q.exp(), True),
        (lambda q: q**2, True),
        (lambda q: q * q, True),
        (lambda q: q.abs().sqrt() + 1.5, True),
        (lambda q: torch.nn.functional.softplus(q) / 3, True),
        (lambda q: torch.softmax(q, 0)[torch.tensor([1, 0])], True),
        (lambda q: (q.sigmoid() * torch.tensor([1.0, 2.0])).cumsum(0), True),
        (lambda q: q.clamp(min=0.0), True),
        (lambda q: q.exp().expand(3, 2).sum(0), True),
        (lambda q: q.exp() + torch.tensor([1.0, -1.0]) + 5, False),
        (lambda q: q.abs() ** -1, False),
        (lambda q: 1 / q.abs(), False),
        (lambda q: q.exp() - 1e-3, False),
        (lambda q: q + 10, False),
        (lambda q: torch.nn.functional.softplus(q, beta=-1.0) * -1, False),
        (lambda q: q.abs().clamp(max=3.0), True),
        (lambda q: (q**3).abs() - q * 0, False),
    ],
)
def test_a_guard_on_what_is_never_negative_goes(expression: Callable[[Tensor], Tensor], proved: bool) -> None:
    graph = doubled(positive_check(expression), 2)
    assert (graph.guards == ()) is proved
    q = points(2, 3)[2]
    torch.testing.assert_close(Replay(graph)(q)[0], expression(q).sum())


def test_a_strict_bound_is_not_proved() -> None:
    """exp(-1000) is 0."""
    graph = doubled(lambda q: Normal(0.0, q.exp()).log_prob(torch.ones(2)).sum(), 2)
    assert len(graph.guards) == 1
    assert Replay(graph)(torch.tensor([-1000.0, 0.0], dtype=F64))[0].item() == -torch.inf


def test_a_rate_that_is_never_negative_needs_no_guard() -> None:
    graph = doubled(lambda q: Poisson(q.exp()).log_prob(torch.tensor([1.0, 3.0])).sum(), 2)
    assert graph.guards == ()
    value, _ = Replay(graph)(torch.tensor([float("nan"), 0.0], dtype=F64))
    assert value.isnan()


def test_both_ends_of_an_interval_are_kept() -> None:
    graph = doubled(lambda q: Bernoulli(probs=q.exp() / 100).log_prob(torch.ones(2)).sum(), 2)
    assert len(graph.guards) == 1
    assert torch.isfinite(Replay(graph)(torch.zeros(2, dtype=F64))[0])
    assert Replay(graph)(torch.full((2,), 5.0, dtype=F64))[0].item() == -torch.inf


def test_a_copy_stays_where_its_layout_decides_what_an_operator_does():
    """torch takes the LU factors of a row-major matrix's transpose, and the gradient knows which."""

    def f(q):
        matrix = q.reshape(3, 3) + torch.eye(3, dtype=torch.float64)
        return torch.linalg.det(matrix.T.contiguous()) + torch.linalg.slogdet(matrix.T.contiguous()).logabsdet

    generator = torch.Generator().manual_seed(0)
    points = tuple(torch.rand(9, generator=generator, dtype=torch.float64) for _ in range(2))
    replay = Replay(optimise(capture(f, points, gradient=True)))
    q = points[1].clone().requires_grad_()
    wanted = f(q)
    (slope,) = torch.autograd.grad(wanted, q)
    value, gradient = replay(points[1])
    torch.testing.assert_close(value, wanted.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, slope, rtol=1e-12, atol=1e-12)


def test_every_pass_leaves_its_text_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURSUM_DUMP", str(tmp_path / "dump"))
    graph = doubled(lambda q: (q.exp() * q).sum(), 3)
    translate(graph, "model")
    first, second = sorted((tmp_path / "dump").iterdir())
    assert (first.name, second.name) == ("000-graph", "001-loops")
    for folder, steps in ((first, passes.GRAPH), (second, passes.LOOPS)):
        names = [path.name for path in sorted(folder.iterdir())]
        assert names == [f"{k:02}-{name}.txt" for k, name in enumerate(["begin", *(step.__name__ for step in steps)])]
    assert sorted(first.iterdir())[-1].read_text() == f"{graph}\n"


def straight(y: Tensor) -> None:
    su.sample("y", dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 1.0).expand([len(y)]).to_event(1), obs=y)


def steps(y: Tensor) -> None:
    s = su.sample("s", dist.HalfNormal(1.0))

    def body(x: Tensor, seen: Tensor) -> tuple[Tensor, None]:
        x = 0.9 * x + s * seen.sin()
        su.sample("y", dist.Normal(x, 1.0), obs=seen)
        return x, None

    su.scan(body, torch.tensor(0.0), y)


def hidden_states(y: Tensor) -> None:
    p = su.sample("p", dist.Dirichlet(torch.ones(2, 2)).to_event(1))

    def body(z: Tensor, seen: Tensor) -> tuple[Tensor, None]:
        z = su.sample("z", dist.Categorical(p[z]))
        su.sample("y", dist.Normal(z.double(), 1.0), obs=seen)
        return z, None

    su.scan(body, torch.tensor(0), y)


def decay(y: Tensor) -> None:
    rate = su.sample("rate", dist.HalfNormal(1.0))
    z = su.odeint(lambda t, z: -rate * z, torch.ones(1), torch.linspace(0.0, 2.0, len(y)))
    su.sample("y", dist.Normal(z[:, 0], 0.1).to_event(1), obs=y)


@pytest.mark.parametrize("program", [straight, steps, hidden_states, pytest.param(decay, marks=pytest.mark.slow)])
def test_graphs_and_loop_programs_of_every_kind_are_text(
    program: Callable[[Tensor], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of the steps inside: a line an operator, no address of an object; each pass is verified (conftest.py)."""
    monkeypatch.setenv("SURSUM_DUMP", str(tmp_path))
    density = su.compile(program, torch.linspace(-1.0, 1.0, 30), engine="torch")
    _, loops = translate(density.graph, "program")
    texts = [path.read_text() for path in tmp_path.rglob("*.txt")]
    assert texts
    assert not any("object at" in text or re.search(r"\b0x[0-9a-f]{6}", text) for text in texts)
    assert str(density.graph).count(" = aten.") >= len([n for n in density.graph.nodes if not is_inner(n.op)])
    assert all(f"{loop.call.function}: {loop.length} steps" in str(loops) for loop in loops.loops)
    inner = {kind for kind in ("graph", "loops") for folder in tmp_path.glob(f"*-{kind}") if len(list(folder.iterdir())) < 10}
    assert inner == (set() if program is straight else {"graph", "loops"})


def test_nothing_is_left_where_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SURSUM_DUMP", raising=False)
    monkeypatch.chdir(tmp_path)
    doubled(lambda q: (q.exp() * q).sum(), 3)
    assert list(tmp_path.iterdir()) == []
