"""`table[k]` with a single computed number: as torch's own, in value and gradient, on both engines; and what stays refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.selection import SelectByTensor
from sursum.errors import BranchError, OutOfRangeError

TABLE = torch.linspace(-1.0, 1.0, 60, dtype=torch.float64).sin().reshape(3, 4, 5)
MASK = torch.arange(4) % 2 == 0


def fixed(x, k, j):
    y = torch.zeros(3, 4, dtype=torch.float64)
    y[k] = x[0]
    y[-1, j] = 2.0 * x[1]
    y[:2, j] = x[1:]
    return y


def row(x, k, j):
    y = TABLE.clone() * x[0]
    y[..., j, :] = x.sum()
    y[k, ..., j] += x[2]
    y[j - 1, k, j] = 3
    return y


def flag(x, k, j):
    y = x.clone()
    y[k > 1] = 2.0
    s = x.sum()
    s = s * 1.0
    s[s > 0.5] = x[0] * 3
    return y.sum() + s


READS = {
    "a row": lambda x, k, j: TABLE[k],
    "an element": lambda x, k, j: TABLE[k, j, 2],
    "from the end": lambda x, k, j: TABLE[k - 3, ..., -j],
    "beside slices": lambda x, k, j: TABLE[1:, k, ::2],
    "behind dots": lambda x, k, j: TABLE[..., k],
    "between new dimensions": lambda x, k, j: TABLE[None, k, :, None, j],
    "beside a list": lambda x, k, j: TABLE[k, [0, 2, 2]],
    "beside a tensor": lambda x, k, j: TABLE[torch.tensor([[0, 1]]), k, j],
    "between two tensors": lambda x, k, j: TABLE[torch.tensor([0, 1]), k, torch.tensor([3, 3])],
    "beside a computed tensor": lambda x, k, j: TABLE[k, torch.stack([j, k])],
    "beside a mask": lambda x, k, j: TABLE[k, MASK],
    "of 32 bits": lambda x, k, j: TABLE[k.int()],
    "of a latent table": lambda x, k, j: x[x.argmax()] + x[k],
    "twice": lambda x, k, j: TABLE[k][j][k + 1],
}
WRITES = {"rows": fixed, "behind dots": row, "a truth value": flag}


def program(use):
    def model():
        x = su.sample("x", dist.Normal(torch.zeros(3, dtype=torch.float64), 1.0).to_event(1))
        k = x.sum().abs().floor().long() % 3
        su.factor("f", -((use(x, k, x.argmax()) - x.mean()) ** 2).sum())

    return model


@pytest.mark.parametrize("use", [*READS.values(), *WRITES.values()], ids=[*READS, *(f"write {name}" for name in WRITES)])
def test_it_is_what_torch_gives(use):
    density = su.compile(program(use), engine="native")
    eager = su.infer.LogDensity(program(use))
    rng = np.random.default_rng(0)
    for _ in range(6):
        q = torch.from_numpy(rng.normal(size=3)).requires_grad_()
        wanted = eager(q)
        (slope,) = torch.autograd.grad(wanted, q)
        for value, gradient in (density.value_and_grad(q.detach().numpy()), density.replay(q.detach())):
            assert float(value) == pytest.approx(float(wanted.detach()), rel=1e-12)
            assert np.asarray(gradient) == pytest.approx(slope.numpy(), rel=1e-10, abs=1e-12)


def test_outside_of_the_table_the_density_is_zero():
    def model():
        x = su.sample("x", dist.Normal(torch.zeros(1, dtype=torch.float64), 1.0).to_event(1))
        su.factor("f", TABLE[x[0].floor().long() + 1].sum())

    density = su.compile(model, engine="native")
    for at, inside in ((0.5, True), (-0.5, True), (-3.5, True), (-4.5, False), (2.5, False), (1e30, False)):
        assert np.isfinite(density.value_and_grad(np.array([at]))[0]) == inside
    with pytest.raises(OutOfRangeError):
        su.infer.LogDensity(model)(torch.tensor([2.5], dtype=torch.float64))


def test_a_window_that_is_written_into_is_not_taken_for_a_copy():
    """torch's x[k] is a window on x. What is written into that must not get lost silently."""

    def model():
        x = su.sample("x", dist.Normal(torch.zeros(3, dtype=torch.float64), 1.0).to_event(1))
        y = x.clone()
        y[x.argmax()].mul_(2.0)
        su.factor("f", -(y**2).sum())

    with pytest.raises(su.errors.CaptureError):
        su.compile(model)


@pytest.mark.parametrize(
    "look", [lambda x, k: [1.0, 2.0, 3.0][k], lambda x, k: x[:k].sum(), lambda x, k: x.sum() * len(range(k))]
)
def test_the_advice_where_a_place_is_looked_at(look):
    def model():
        x = su.sample("x", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        su.factor("f", look(x, x.argmax()))

    with pytest.raises(BranchError, match=r"To look up a computed index k, write table\[k\] with a tensor"):
        su.compile(model)


def test_what_is_not_computed_is_left_to_torch():
    x = torch.zeros(2, 3)
    with SelectByTensor(lambda tensor: False):
        x[torch.tensor(1)].add_(1.0)
        x[torch.tensor(0), torch.tensor(2)] = 5.0
    assert x.tolist() == [[0.0, 0.0, 5.0], [1.0, 1.0, 1.0]]


@pytest.mark.parametrize("law", [dist.Geometric, torch.distributions.Geometric])
def test_a_single_probability_of_a_geometric(law):
    """torch writes its density with an assignment under a truth value."""

    def model():
        p = su.sample("p", dist.Beta(torch.tensor(2.0, dtype=torch.float64), 2.0))
        su.sample("y", law(p), obs=torch.tensor(3.0, dtype=torch.float64))

    q = 0.4
    p = 1.0 / (1.0 + np.exp(-q))
    wanted = 2 * np.log(p) + 2 * np.log1p(-p) + np.log(6.0) + 3 * np.log1p(-p) + np.log(p)
    value, slope = su.compile(model, engine="native").value_and_grad(np.array([q]))
    assert value == pytest.approx(wanted, rel=1e-12)
    assert slope == pytest.approx([3.0 - 8.0 * p], rel=1e-12)


def test_a_geometric_that_is_sure():
    sure = dist.Geometric(torch.tensor(1.0))
    assert sure.log_prob(torch.tensor(0.0)) == 0.0
    assert sure.log_prob(torch.tensor(2.0)) == -torch.inf
