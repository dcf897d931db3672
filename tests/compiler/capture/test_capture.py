"""Captures: what a graph holds, and every way in which a program may not be one."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, ContinuousBernoulli, Gamma, MultivariateNormal, Normal
from torch.nn import functional

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.capture import Beside, Capture, capture
from sursum.compiler.graph.assumption import same_bits
from sursum.compiler.graph.compare import compare
from sursum.compiler.graph.graph import Graph, Where, refs_of
from sursum.compiler.graph.replay import Replay
from sursum.errors import BranchError, CaptureError, EscapeError, UncapturableError

POINTS = torch.tensor([0.3, -0.8, 1.2], dtype=torch.float64), torch.tensor([-1.1, 0.4, 0.7], dtype=torch.float64)
aten = torch.ops.aten


def captured(program: Callable[[Tensor], Any], **options: Any) -> Graph:
    return capture(program, POINTS, gradient=True, **options)


def operators(graph: Graph) -> list[str]:
    return [node.op.__name__ for node in graph.nodes]


def test_views_make_no_nodes() -> None:
    graph = captured(lambda q: q.reshape(3, 1).t()[0, 1:].expand(4, 2).sum())
    assert operators(graph)[0] == "sum.default"
    (ref,) = refs_of(graph.nodes[0])
    assert (ref.value, ref.size, ref.stride, ref.offset) == (graph.input, (4, 2), (0, 1), 1)


def test_a_write_makes_the_next_version_of_its_storage() -> None:
    def program(q: Tensor) -> Tensor:
        x = torch.zeros(2, 2, dtype=torch.float64)
        x[1] = q[:2]
        return x.sum()

    graph = captured(program)
    node = next(node for node in graph.nodes if node.writes)
    (write,) = node.writes
    assert node.op is aten.copy_.default
    assert (write.window.size, write.window.stride, write.window.offset) == ((2,), (1,), 2)
    assert write.value != write.window.value
    assert graph.values[write.value].numel == graph.values[write.window.value].numel == 4
    assert node.outputs[0].value == write.value
    (total,) = [node for node in graph.nodes if node.op is aten.sum.default]
    assert refs_of(total)[0].value == write.value


def test_constants_are_whole_storages_and_copies() -> None:
    data = torch.arange(6.0)
    graph = captured(lambda q: (q * data.reshape(2, 3)[1]).sum())
    (constant,) = graph.constants.values()
    assert constant.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    data.zero_()
    assert constant[5] == 5.0


def test_an_operator_knows_its_site_and_line_and_so_does_its_derivative() -> None:
    sites = iter(["first"] * 1000)
    line = sys._getframe().f_lineno + 1
    graph = captured(lambda q: q.sin().sum(), current_site=lambda: Where(next(sites), None))
    wheres = {node.op.__name__: node.where for node in graph.nodes}
    for name in ("sin.default", "sum.default", "cos.default", "mul.Tensor"):
        assert (wheres[name].site, wheres[name].line) == ("first", f"test_capture.py:{line}")
    assert (wheres["ones_like.default"].site, wheres["ones_like.default"].line) == (None, None)


def test_the_line_is_the_programs_also_inside_of_torch() -> None:
    line = sys._getframe().f_lineno + 1
    graph = captured(lambda q: Normal(q[0], q[1].exp()).log_prob(q[2]))
    assert {node.where.line for node in graph.nodes} == {f"test_capture.py:{line}", None}


@pytest.mark.parametrize("state", [torch.no_grad, torch.inference_mode])
def test_the_callers_state_does_not_matter(state: Callable[[], Any]) -> None:
    program = lambda q: (q * q).sum()
    with state():
        graph = captured(program)
    compare(graph, captured(program))
    assert torch.equal(Replay(graph)(POINTS[0])[1], 2 * POINTS[0])
    assert torch._C._get_mkldnn_enabled()


def test_nothing_is_imported_and_memory_is_not_reused() -> None:
    def program(q: Tensor) -> Tensor:
        total = q.sum()
        for _ in range(50):  # each product would take the place of the last one
            total = total + (q * 1.01).sum()
        return total

    graph = captured(program)
    torch.testing.assert_close(Replay(graph)(POINTS[0])[0], program(POINTS[0]))
    assert len({output.value for node in graph.nodes for output in node.outputs}) == len(graph.nodes)


def test_captures_in_threads_do_not_disturb_each_other() -> None:
    programs = [lambda q, k=k: (q**k).sum().exp() for k in range(1, 5)]
    found: dict[int, Graph] = {}
    threads = [threading.Thread(target=lambda k=k: found.__setitem__(k, captured(programs[k]))) for k in range(len(programs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, program in enumerate(programs):
        compare(found[k], captured(program))


# Checks become guards


def test_checks_of_distributions_become_guards() -> None:
    graph = captured(lambda q: Gamma(q[0].exp(), q[2].exp()).log_prob(torch.tensor([1.0, 2.0])).sum())
    assert [guard.kind for guard in graph.guards] == ["true", "true"]
    assert all(graph.values[guard.ref.value].dtype is torch.bool for guard in graph.guards)


def test_a_check_of_data_alone_is_no_guard() -> None:
    assert captured(lambda q: q.sum() + Normal(0.0, 1.0).log_prob(torch.ones(3)).sum()).guards == ()


def test_a_factorisation_is_guarded() -> None:
    def program(q: Tensor) -> Tensor:
        matrix = torch.diag(q.exp()) + torch.ones(3, 3, dtype=torch.float64)
        return torch.linalg.cholesky(matrix).diagonal().log().sum()

    assert [guard.kind for guard in captured(program).guards] == ["zero"]


def test_the_look_of_a_multivariate_normal_at_its_covariance_is_a_check() -> None:
    graph = captured(lambda q: MultivariateNormal(torch.zeros(3).double(), torch.diag(q.exp())).log_prob(q))
    assert {guard.kind for guard in graph.guards} == {"true", "zero"}


def test_a_look_at_all_of_a_condition_inside_of_a_distribution_is_a_check() -> None:
    program = lambda q: ContinuousBernoulli(q.sigmoid(), validate_args=True).log_prob(torch.ones(3)).sum()
    graph = captured(program)
    assert "all.default" in operators(graph)
    assert [guard.kind for guard in graph.guards] == ["true", "true"]


def test_a_check_that_fails_is_the_programs_own_error() -> None:
    with pytest.raises(ValueError, match="to satisfy the constraint"):
        captured(lambda q: Bernoulli(probs=q).log_prob(torch.ones(3)).sum())
    with pytest.raises(torch.linalg.LinAlgError):
        captured(lambda q: torch.linalg.cholesky(-torch.eye(3).double() * q.exp()).sum())


def test_a_check_that_fails_and_is_survived_is_a_branch() -> None:
    def program(q: Tensor) -> Tensor:
        return q.sum() if torch._is_all_true(q > 0) else q.exp().sum()

    with pytest.raises(BranchError, match=r"a check that failed, and after which the program went on.*test_capture"):
        captured(program)


# What may not be


def branch(q: Tensor) -> Tensor:
    return q.sum() if q[0] > 0 else q.prod()


@pytest.mark.parametrize(
    "program",
    [
        branch,
        lambda q: q.sum() * float(q[0]),
        lambda q: q.sum() * q[0].item(),
        lambda q: q.sum() if torch.equal(q, q + 1) else q.prod(),
        lambda q: q.sum() if torch.allclose(q, q + 1) else q.prod(),
        lambda q: q.sum() if (q > 0).all() else q.prod(),
        lambda q: q.sum() * int(q.argmax()),
    ],
)
def test_a_look_at_a_traced_value_is_refused(program: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(BranchError, match=r"at site 'here' \(test_capture.py:\d+\).*torch.where"):
        captured(program, current_site=lambda: Where("here", None))


@pytest.mark.parametrize("program", [lambda q: q[q > 0].sum(), lambda q: (q > 0).nonzero().sum() * q.sum()])
def test_a_shape_that_depends_on_the_unknowns_is_refused(program: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(BranchError, match=r"whose shape depends on the unknowns.*test_capture.py.*torch.where"):
        captured(program)


def test_an_error_that_the_program_swallows_is_still_one() -> None:
    def program(q: Tensor) -> Tensor:
        try:
            return q.sum() if q[0] > 0 else q.prod()
        except RuntimeError:
            return q.sum()

    with pytest.raises(BranchError):
        captured(program)


def test_data_may_be_looked_at() -> None:
    data = torch.tensor([1.0, -2.0, 3.0])

    def program(q: Tensor) -> Tensor:
        scale = data.abs().max().item()
        chosen = data[data > 0]
        return (q[:2] * chosen).sum() * scale if data.sum() > 0 else q.sum()

    graph = captured(program)
    torch.testing.assert_close(Replay(graph)(POINTS[0])[0], 3 * (0.3 - 0.8 * 3) * torch.ones(()).double())
    assert "nonzero.default" not in operators(graph)


def test_indexing_by_a_mask_of_data_becomes_indexing_by_numbers() -> None:
    mask = torch.tensor([[True, False, True], [False, False, True]])

    def program(q: Tensor) -> Tensor:
        x = q.expand(2, 3).clone()
        x[mask] = x[mask] * 2
        x[torch.tensor([False, True])] += 1
        return x.pow(2).sum()

    graph = captured(program)
    for node in graph.nodes:
        if node.op in (aten.index.Tensor, aten.index_put_.default):
            assert all(ref.dtype is torch.int64 for ref in node.args[1])
    q = POINTS[1].clone().requires_grad_()
    value = program(q)
    value.backward()
    replayed = Replay(graph)(POINTS[1])
    torch.testing.assert_close(replayed[0], value.detach())
    torch.testing.assert_close(replayed[1], q.grad)


def test_a_number_under_a_traced_mask_is_a_fill() -> None:
    def program(q: Tensor) -> Tensor:
        x = q * 2
        x[x > 1] = 1.0
        return x.sum()

    graph = captured(program)
    assert {"masked_fill_.Tensor", "masked_fill_.Scalar"} & set(operators(graph))  # the latter since torch 2.15
    q = torch.tensor([5.0, 0.2, -3.0], dtype=torch.float64)
    value, slope = Replay(graph)(q)
    assert value.item() == pytest.approx(1.0 + 0.4 - 6.0)
    assert slope.tolist() == [0.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("program", "hint"),
    [
        (lambda q: (q + torch.randn(3)).sum(), "Make the draw a site"),
        (lambda q: (q * torch.rand_like(q)).sum(), "Make the draw a site"),
        (lambda q: torch.zeros(3).normal_().sum() * q.sum(), "Make the draw a site"),
        (lambda q: q[torch.randperm(3)].sum(), "Make the draw a site"),
        (lambda q: Normal(q, 1.0).rsample().sum(), "Make the draw a site"),
        (lambda q: functional.dropout(q, 0.5, training=True).sum(), r"net\.eval\(\)"),
    ],
)
def test_randomness_is_refused(program: Callable[[Tensor], Tensor], hint: str) -> None:
    with pytest.raises(CaptureError, match=rf"draws at random while it is scored.*test_capture\.py:\d+.*{hint}"):
        captured(program)


def test_dropout_that_drops_nothing_is_not_random() -> None:
    program = lambda q: functional.dropout(q, 0.5, training=False).sum() + functional.dropout(q, 0.0, training=True).sum()
    assert Replay(captured(program))(POINTS[0])[1].tolist() == [2.0, 2.0, 2.0]


def test_batch_norm_in_training_mode_is_refused() -> None:
    net = nn.BatchNorm1d(3).double()
    before = net.running_mean.clone()
    with pytest.raises(CaptureError, match=r"batch norm.*net\.eval\(\)"):
        captured(lambda q: net(q.reshape(1, 3).expand(2, 3) * torch.ones(2, 1)).sum())
    net.num_batches_tracked = None
    with pytest.raises(CaptureError, match=r"running statistics.*test_capture\.py:\d+.*net\.eval\(\)"):
        captured(lambda q: net(q.reshape(1, 3).expand(2, 3) * torch.ones(2, 1)).sum())
    assert torch.equal(net.running_mean, before)
    net.eval()
    captured(lambda q: net(q.reshape(1, 3)).sum())


def test_batch_norm_without_statistics_is_captured() -> None:
    x = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64)
    program = lambda q: functional.batch_norm(x * q, None, None, training=True).pow(3).sum()
    q = POINTS[1].clone().requires_grad_()
    (slope,) = torch.autograd.grad(program(q), q)
    torch.testing.assert_close(Replay(captured(program))(POINTS[1])[1], slope)


@pytest.mark.parametrize(
    "write",
    [
        lambda data, q: data.copy_(q.detach()),
        lambda data, q: data.add_(1.0),
        lambda data, q: data[1:].zero_(),
        lambda data, q: torch.exp(q.detach(), out=data),
        lambda data, q: q.detach().mul_(2.0),
    ],
)
def test_a_write_into_what_comes_from_outside_is_refused(write: Callable[[Tensor, Tensor], Tensor]) -> None:
    data = torch.zeros(3, dtype=torch.float64)

    def program(q: Tensor) -> Tensor:
        write(data, q)
        return (q * data).sum()

    with pytest.raises(CaptureError, match=r"writes into a tensor that was made outside.*test_capture\.py:\d+.*clone"):
        captured(program)
    assert torch.equal(data, torch.zeros(3, dtype=torch.float64))


def test_a_tensor_made_from_python_numbers_may_be_written() -> None:
    def program(q: Tensor) -> Tensor:
        x = torch.tensor([1.0, 2.0], dtype=torch.float64)
        x[0] = q[1]
        return (x * x).sum()

    assert Replay(captured(program))(torch.tensor([0.0, 3.0, 0.0]).double())[0].item() == 13.0


@pytest.mark.parametrize(
    ("program", "what"),
    [
        (lambda q: torch.complex(q, q).abs().sum(), "complex128"),
        (lambda q: torch.fft.fft(q).real.sum(), "complex128"),
        (lambda q: q.view(torch.int64).sum() + q.sum(), r"reads torch\.float64 memory as torch\.int64"),
        (lambda q: torch.sparse.mm(torch.eye(3).double().to_sparse(), q.reshape(3, 1)).sum(), "not dense"),
        (lambda q: (q * torch.tensor([1 + 2j]).conj().imag).sum(), "complex64|negated"),
    ],
)
def test_tensors_of_other_kinds_are_refused(program: Callable[[Tensor], Tensor], what: str) -> None:
    with pytest.raises(UncapturableError, match=what):
        captured(program)


def test_a_tensor_that_changes_its_memory_is_refused() -> None:
    def program(q: Tensor) -> Tensor:
        x = torch.zeros(2, dtype=torch.float64)
        x.resize_(3)
        return (x.fill_(1.0) * q).sum()

    with pytest.raises(CaptureError, match="keeps its storage"):
        captured(program)


@pytest.mark.parametrize("result", [lambda q: q, lambda q: (q.sum(), q), lambda q: (q > 0).any(), lambda q: 1.0])
def test_a_density_is_one_number(result: Callable[[Tensor], Any]) -> None:
    with pytest.raises(CaptureError, match="a log density is one real number"):
        captured(result)


# What escapes


def counter() -> Callable[[Tensor], Tensor]:
    calls: list[int] = []

    def program(q: Tensor) -> Tensor:
        calls.append(1)
        return q.sum() * len(calls)

    return program


def growing() -> Callable[[Tensor], Tensor]:
    calls: list[int] = []

    def program(q: Tensor) -> Tensor:
        calls.append(1)
        return sum((q.sum() for _ in calls), torch.zeros(()))

    return program


def hidden(q: Tensor) -> Tensor:
    return q.sin().sum() if q.detach().numpy()[0] > 0 else q.cos().sum()


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        (lambda q: q.sum() * q.tolist()[0], "left torch"),
        (lambda q: (q * torch.tensor(q.tolist())).sum(), "left torch"),
        (lambda q: (q * torch.from_numpy(np.exp(q.detach().numpy()))).sum(), "left torch"),
        (lambda q: (q * torch.from_numpy(q.detach().numpy())).sum(), "left torch"),
        (lambda q: (q * torch.tensor([q.tolist()[0] > 0] * 3)).sum(), "left torch"),
        (lambda q: q.sum() * random.random(), "left torch"),
        (lambda q: torch.tensor(q.tolist()).sum(), "left torch"),
        (lambda q: q[: 1 + int(q.tolist()[0] > 0)].sum(), "hidden branch|left torch"),
        (counter(), "left torch"),
        (hidden, "hidden branch"),
        (growing(), "hidden branch"),
    ],
)
def test_escapes_are_found(program: Callable[[Tensor], Tensor], cause: str) -> None:
    with pytest.raises(EscapeError, match=rf"at site 'here' \(test_capture\.py:\d+\).*likely cause is .*({cause})"):
        captured(program, current_site=lambda: Where("here", None))


def test_results_that_differ_without_an_operator_are_escapes() -> None:
    with pytest.raises(EscapeError, match=r"a result that torch did not compute differs.*left torch"):
        captured(lambda q: torch.tensor(q.tolist()[0]))
    with pytest.raises(EscapeError, match=r"the results differ in shape.*hidden branch"):
        capture(lambda q: (q if q.tolist()[0] > 0 else q[:2],), POINTS, gradient=False)


def test_numpy_of_a_tensor_with_a_gradient_is_an_escape() -> None:
    with pytest.raises(EscapeError, match=r"left torch.*numpy\(\)"):
        captured(lambda q: q.sum() * q.numpy()[0])


@pytest.mark.filterwarnings("ignore:To copy construct")
def test_a_tensor_made_of_a_tensor_is_its_copy() -> None:
    value, slope = Replay(captured(lambda q: (q * torch.tensor(q)).sum()))(torch.tensor([1.0, 2.0, 4.0]).double())
    assert value.item() == 21.0
    assert slope.tolist() == [1.0, 2.0, 4.0]


def test_equal_constants_of_two_runs_are_no_escape() -> None:
    program = lambda q: (q * torch.tensor([1.0, float("nan"), -0.0])).sum() + torch.tensor(2) * q.sum()
    graph = captured(program)
    assert len(graph.constants) == 2


def test_a_check_made_in_one_run_only_is_found() -> None:
    def program(q: Tensor) -> Tensor:
        valid = q.sum() < 100
        if q.tolist()[0] > 0:
            assert valid
        return q.sum()

    with pytest.raises((EscapeError, BranchError)):
        captured(program)


def test_bits_are_compared_by_dtype_shape_and_sign() -> None:
    assert same_bits(torch.tensor([1.0, float("nan")]), torch.tensor([1.0, -float("nan")]))
    assert not same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same_bits(torch.tensor([1]), torch.tensor([1.0]))
    assert not same_bits(torch.tensor([1.0]), torch.tensor([1.0, 1.0]))
    assert not same_bits(torch.tensor([float("nan"), 1.0]), torch.tensor([1.0, float("nan")]))


def test_a_branch_that_both_points_of_a_capture_take_alike_is_found():
    """Through NumPy, where no operator shows it, and constant around the initial values."""

    def clamped():
        a = su.sample("a", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
        shift = torch.tensor(min(max(float(a.detach().numpy()), -30.0), -1.0), dtype=torch.float64)
        su.sample("y", dist.Normal(shift + a, 1.0), obs=torch.tensor(1.0, dtype=torch.float64))

    with pytest.raises(EscapeError, match="away from the points of the capture the program is a different.*torch.where"):
        su.compile(clamped)


class Counting(torch.autograd.Function):
    """x, with a gradient that is another one each time."""

    runs = 0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        Counting.runs += 1
        return slope * Counting.runs


def test_a_backward_pass_of_the_programs_own_is_compared() -> None:
    with pytest.raises(EscapeError):
        capture(lambda q: Counting.apply(q).sum(), POINTS, gradient=True)


def test_a_hook_that_changes_is_found() -> None:
    runs = [0.0]

    def hook(slope: Tensor) -> Tensor:
        runs[0] += 1
        return slope * runs[0]

    def model() -> None:
        z = su.sample("z", dist.Normal(0.0, 1.0)) * 1.0
        if z.requires_grad:
            z.register_hook(hook)
        su.factor("f", -(z**2))

    with pytest.raises(EscapeError, match="gradient"):
        su.compile(model)


@pytest.mark.parametrize("size", [3, 5000])
def test_both_points_of_a_capture_have_their_gradients(size: int) -> None:
    data = torch.linspace(0, 1, 2 * size, dtype=torch.float64)[size:]
    found = Capture(lambda q: Beside(-((q.sum() - data) ** 2).sum(), (q * data[:3], data[:1])), POINTS, gradient=True).found
    for point, (value, gradient, product, constant) in zip(POINTS, found, strict=True):
        away = point.sum() - data
        assert value == pytest.approx(float(-(away**2).sum()), rel=1e-12)
        assert gradient.tolist() == pytest.approx([float(-2 * away.sum())] * 3, rel=1e-12)
        assert torch.equal(product, point * data[:3])
        assert torch.equal(constant, data[:1])


@pytest.mark.parametrize("size", [3, 5000])
def test_a_number_that_changes_beside_data_is_an_escape(size: int) -> None:
    data, runs = torch.ones(2 * size, dtype=torch.float64)[size:], [0.0]

    def program(q: Tensor) -> Tensor:
        runs[0] += 1
        return -((q.sum() * data) ** 2).sum() * runs[0]

    with pytest.raises(EscapeError, match="mul"):
        capture(program, POINTS, gradient=True)
