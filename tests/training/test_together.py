"""A step at several points in one pass: its losses, gradients and state are those of the points one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from sursum.errors import CaptureError, DensityError
from sursum.training import TrainingStep

W = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
BATCHES = [torch.randn(5, 2, generator=torch.Generator().manual_seed(k)) for k in range(3)]


def loss(trained: Mapping[str, Tensor], state: Mapping[str, Tensor], args: tuple[Any, ...], kwargs: Any) -> Tensor:
    """With memory that is written in parts, an input that is read through a window, and a state."""
    (x,) = args
    memory = torch.zeros(4)
    memory[1:3] = trained["w"] * x[::2].sum(0)
    state["seen"].mul_(0.9).add_(0.1 * x.mean(0))
    rows = x.index_select(0, torch.tensor([0, 4]))
    return (memory.square().sum() + (rows @ trained["w"]).exp().sum()) * trained["a"].exp()


@pytest.mark.parametrize("shared", [False, True])
def test_each_point_is_what_it_is_alone(shared: bool) -> None:
    step = TrainingStep(loss)
    data = [BATCHES[0]] * 3 if shared else BATCHES
    points = [{"w": W[k], "a": torch.tensor(0.1 * k)} for k in range(3)]
    states = [{"seen": torch.full((2,), float(k))} for k in range(3)]
    batches = [step.prepare(points[0], (x,), seed=0, state=states[0]) for x in data]
    assert all(batch is not None for batch in batches)
    alone = [step.on(batch, point, seed=0, state=state) for batch, point, state in zip(batches, points, states, strict=True)]
    together = {"seen": torch.arange(3.0)[:, None].repeat(1, 2)}
    stacked = {"w": W.clone(), "a": 0.1 * torch.arange(3.0)}
    for _ in range(2):  # recorded, and replayed
        now = {"seen": together["seen"].clone()}
        found = step.at_all(batches, stacked, seeds=[0, 1, 2], state=now)
        torch.testing.assert_close(found.loss, torch.stack([one.loss for one in alone]))
        for name in stacked:
            torch.testing.assert_close(found.gradients[name], torch.stack([one.gradients[name] for one in alone]))
        torch.testing.assert_close(now["seen"], torch.stack([state["seen"] for state in states]))


def test_what_is_drawn_and_what_is_undefined() -> None:
    noisy = TrainingStep(lambda trained, state, args, kwargs: (trained["w"] * torch.randn(2)).sum())
    batch = noisy.prepare({"w": W[0]}, (), seed=0)
    assert batch is not None
    with pytest.raises(CaptureError, match="draws numbers"):
        noisy.at_all([batch, batch], {"w": W[:2]}, seeds=[0, 1], state={})

    def checked(trained: Any, state: Any, args: Any, kwargs: Any) -> Tensor:
        fn = torch.distributions.Normal(trained["w"], trained["w"].exp() - 0.5, validate_args=True)
        return -fn.log_prob(torch.zeros(2)).sum()

    step = TrainingStep(checked)
    batch = step.prepare({"w": torch.ones(2)}, (), seed=0)
    assert batch is not None
    good = step.at_all([batch, batch], {"w": torch.ones(2, 2)}, seeds=[0, 1], state={})
    assert torch.equal(good.loss[0], step.on(batch, {"w": torch.ones(2)}, seed=0, state={}).loss)
    with pytest.raises(DensityError, match="a check of arguments fails"):
        step.at_all([batch, batch], {"w": torch.tensor([[1.0, 1.0], [1.0, -5.0]])}, seeds=[0, 1], state={})
