"""A captured step held to its program: what is rounding, also of gradients that cancel, and what is not."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import sursum as su
import sursum.distributions as dist
from sursum.errors import DensityError, EscapeError
from sursum.training import TrainingStep
from sursum.training.agreement import check_same, movement_of

INPUTS = 30.0 * torch.randn(400, 5, generator=torch.Generator().manual_seed(0))


def normalised(trained, state, args, kwargs):
    """The gradient by `b` is zero but for rounding; that by `s` is small."""
    y = INPUTS @ trained["w"] + trained["b"]
    return 100.0 * nn.functional.batch_norm(y, None, None, training=True).exp().sum() + 0.25 * trained["s"].sum()


def test_a_gradient_that_cancels_is_judged_by_what_cancels():
    generator = torch.Generator().manual_seed(1)
    shapes = {"w": (5, 3), "b": (3,), "s": (2,)}
    trained = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    step = TrainingStep(normalised, engine="torch")
    step(trained, seed=0)
    replay, inputs = next(iter(step._known.values())).replay, tuple(trained.values())
    found, unit = replay(inputs, 0), 2.0**-23
    assert found[2].abs().max() < 1.0 < 1e3 < found[1].abs().max()
    asked = []

    def judge(**changed):
        wanted = [found[0], *(changed.get(name, slope) for name, slope in zip(shapes, found[1:], strict=True))]
        asked.clear()
        check_same(found, wanted, unit, lambda: asked.append(1) or movement_of(replay, inputs, 0, 3, 0, found, unit))

    judge(s=found[3] * (1.0 + 1e-6))
    assert not asked
    judge(b=found[2] + 1e-3)
    assert asked == [1]
    for wrong in ({"b": found[2] + 1.0}, {"s": found[3] + 1e-3}, {"w": found[1] * 1.001}, {"b": found[2] * torch.nan}):
        with pytest.raises(EscapeError, match="differs from the program's"):
            judge(**wrong)


def test_an_edge_of_what_is_allowed_explains_nothing():
    def at(inputs, seed):
        if inputs[0].max() > 1.0:
            raise DensityError("beyond")
        return (inputs[0].sum(),)

    inputs = (torch.ones(20),)
    assert movement_of(at, inputs, 0, 1, 0, at(inputs, 0), 2.0**-20) == [0.0]


def test_a_state_is_left_as_it_is():
    def at(inputs, seed):
        inputs[1].add_(1.0)
        return (inputs[0].sum() + inputs[1],)

    weight, total = torch.ones(3), torch.tensor(2.0)
    after = total.clone()
    found = (*at((weight, after), 0), after)
    moved = movement_of(at, (weight, total), 0, 1, 1, found, 2.0**-10)
    assert total == 2.0
    assert 0.0 < moved[0] <= 3 * 2.0**-10
    assert moved[1:] == [0.0]


def test_a_number_from_outside_is_found_out_in_a_coarse_dtype_too():
    """Where 256 units are twice the number itself."""
    scales = iter([1.0, 1.0, 1.5, 1.5, 2.0, 2.0, 2.5])

    def loss(trained, state, args, kwargs):
        return (trained["w"] * args[0]).sum() * next(scales)

    step = TrainingStep(loss, engine="torch")
    with pytest.raises(EscapeError):
        step({"w": torch.ones(4, dtype=torch.bfloat16)}, (torch.full((4,), 3.0, dtype=torch.bfloat16),), seed=0)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_convolution_normalisation_and_dropout_are_one_captured_step(scale):
    """Batches of a loader, and nothing is told of averages that are dropped, or of programs that Python runs."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(32, 3))
    generator = torch.Generator().manual_seed(1)
    x, y = scale * torch.randn(40, 1, 6, 6, generator=generator), torch.randint(3, (40,), generator=generator)

    def program(x, y):
        with su.plate("rows", 60_000, subsample_size=len(x)):
            su.sample("y", dist.Categorical(logits=su.module("net", net)(x)), obs=y)

    lifted = su.lift(program, {"net.**": dist.Normal(0.0, 1.0)})
    svi = su.infer.SVI(lifted, su.infer.autoguide.AutoNormal(lifted), su.optim.Adam(lr=0.01), seed=0, progress=False)
    assert svi.run(2, DataLoader(TensorDataset(x, y), batch_size=40)).engine == "torch"


@pytest.mark.parametrize(("mine", "theirs"), [(math.inf, 1.0), (1.0, -math.inf), (math.inf, -math.inf), (math.nan, math.inf)])
def test_infinity_agrees_with_itself_alone(mine: float, theirs: float) -> None:
    for one in (mine, theirs):
        check_same([torch.tensor([one, 2.0])], [torch.tensor([one, 2.0])], 0.0, lambda: [0.0])
    with pytest.raises(EscapeError):
        check_same([torch.tensor([mine, 2.0])], [torch.tensor([theirs, 2.0])], 0.0, lambda: [0.0])
