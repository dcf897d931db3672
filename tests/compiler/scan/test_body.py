"""The body of a scan as a graph: every tensor a value, views operators, checks guards; and what cannot stand for all steps."""

import pytest
import torch

from sursum.common.torch_private import AutoDispatchBelowAutograd
from sursum.compiler.scan.body import BodyRecorder, Unrollable
from sursum.compiler.scan.recurrence import LoopStep

WEIGHT = torch.tensor([0.5, 2.0, 4.0], dtype=torch.float64)


def record(step, carry, rows, index=0):
    """The graph of one step of (carry, x)."""
    recorder = BodyRecorder()
    entered = recorder.carry(carry.clone())
    x = recorder.row(rows[index].clone(), rows)
    with recorder, AutoDispatchBelowAutograd():
        found = step(entered, x)
    return recorder.body(list(found))


def names(body):
    return [str(node.op) for node in body.graph.nodes]


def start():
    return torch.ones(3, dtype=torch.float64), torch.arange(12.0, dtype=torch.float64).reshape(4, 3)


def test_a_step_is_a_graph_of_carry_row_and_what_is_fixed():
    carry, rows = start()
    body = record(lambda c, x: (c * WEIGHT + x,), carry, rows)
    assert names(body) == ["aten.mul.Tensor", "aten.add.Tensor"]
    assert list(body.fixed.values()) == [WEIGHT]
    assert body.rows[next(iter(body.rows))] is rows
    nodes = body.graph.nodes
    each, fixed = tuple(body.rows), tuple(body.fixed)
    step = LoopStep(nodes, body.carry, each, fixed, tuple(body.outputs), reverse=False)
    (found,) = step.run([carry], [rows[2]], [WEIGHT])
    assert found.tolist() == [6.5, 9.0, 12.0]


def test_views_and_detached_tensors_are_values_of_their_own():
    carry, rows = start()
    body = record(lambda c, x: (c.detach() + c[0] + x.unsqueeze(0)[0],), carry, rows)
    assert names(body)[:2] == ["aten.detach.default", "aten.select.int"]
    values = [ref.value for node in body.graph.nodes for ref in node.outputs]
    assert len(values) == len(set(values)) == len(body.graph.nodes)


def test_two_steps_are_compared():
    carry, rows = start()
    one, other = (record(lambda c, x: (c.exp() + x,), carry, rows, index) for index in range(2))
    one.check_same(other)
    changed = record(lambda c, x: (c.exp() + x * 1.5,), carry, rows)
    with pytest.raises(Unrollable, match="the second step behaves differently from the first"):
        one.check_same(changed)
    counting, counted = (record(lambda c, x, k=k: (c + torch.full((3,), float(k)),), carry, rows) for k in range(2))
    with pytest.raises(Unrollable, match="the second step behaves differently"):
        counting.check_same(counted)
    outside, inside = (record(lambda c, x, k=k: (c + WEIGHT.new_tensor([k, 1, 2]),), carry, rows) for k in range(2))
    with pytest.raises(Unrollable, match="a number in the second step differs from that in the first, and is not from xs"):
        outside.check_same(inside)


def test_a_check_is_a_guard():
    carry, rows = start()

    def step(c, x):
        assert torch._is_all_true(x >= 0)
        return (c + x,)

    (guard,) = record(step, carry, rows).graph.guards
    assert guard.kind == "true"
    assert guard.ref.dtype is torch.bool


def branches(c, x):
    return (c if x[0] > 0 else -c,)


def writes(c, x):
    z = torch.zeros(3, dtype=torch.float64)
    z[0] = c[0]
    return (z,)


def draws(c, x):
    return (c + torch.randn(3),)


def masks(c, x):
    return (c + x[x > 1].sum(),)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (branches, "Python reads a number that differs between steps"),
        (writes, "writes into a tensor"),
        (draws, "draws at random"),
        (masks, "the shape of what aten::index gives may differ between steps"),
    ],
)
def test_what_cannot_stand_for_all_steps(step, message):
    with pytest.raises(Unrollable, match=message):
        record(step, *start())


def test_a_refusal_that_the_body_swallows_is_raised_at_its_end():
    def step(c, x):
        try:
            return branches(c, x)
        except Unrollable:
            return (c,)

    with pytest.raises(Unrollable, match="Python reads a number"):
        record(step, *start())
