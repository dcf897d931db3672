"""Steps of torch's optimisers, by `Optim.step` and by themselves."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import sursum as su
from sursum.common import torch_private

MADE = [getattr(su.optim, name) for name in su.optim.__all__ if name not in ("Optim", "ClippedAdam")]


def walk(make: type[su.optim.Optim], step: object) -> list[float]:
    leaf = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer = make(lr=0.1).build({"x": leaf})
    for k in range(4):
        leaf.grad = torch.cos(leaf.detach() * (k + 1))
        step(optimizer)  # type: ignore[operator]
    return leaf.tolist()


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_a_step_is_the_optimisers_own(make: type[su.optim.Optim], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = walk(make, lambda optimizer: optimizer.step())
    monkeypatch.setattr(torch_private, "sys", SimpleNamespace(modules={}))  # as if Dynamo had not been imported
    assert walk(make, su.optim.Optim.step) == wanted


def test_who_waits_for_steps_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_private, "sys", SimpleNamespace(modules={}))
    leaf = torch.tensor(1.0, requires_grad=True)
    called = []

    class Mine(torch.optim.SGD):
        def step(self, closure=None):
            called.append("subclass")
            return super().step(closure)

    hooked, mine = torch.optim.SGD([leaf], lr=0.1), Mine([leaf], lr=0.1)
    hooked.register_step_post_hook(lambda *_: called.append("hook"))
    leaf.grad = torch.tensor(1.0)
    su.optim.Optim.step(hooked)
    su.optim.Optim.step(mine)
    assert called == ["hook", "subclass"]
    assert leaf.item() == pytest.approx(0.8)
    scheduled = torch.optim.SGD([leaf], lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(scheduled, 1)
    su.optim.Optim.step(scheduled)
    schedule.step()  # torch warns where no step was taken before
    assert leaf.item() == pytest.approx(0.7)


DYNAMO = """
import sys, torch, sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
def model():
    pyro.sample("y", dist.Normal(pyro.param("m", torch.tensor(0.0)), 1.0), obs=torch.tensor(1.0))
svi = pyro.infer.SVI(model, lambda: None, pyro.optim.Adam({"lr": 0.1}), pyro.infer.Trace_ELBO())
assert svi.step() > svi.step()
import sursum as su, sursum.distributions as dist
def lifted(y):
    su.sample("y", dist.Normal(su.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=y)
own = su.infer.SVI(lifted, su.infer.autoguide.AutoNormal(lifted), su.optim.Adam({"lr": 0.1}), seed=0, engine=sys.argv[1])
for _ in range(40):
    own.step(torch.tensor(1.0))
assert "torch._dynamo" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["eager", "torch"])
def test_no_step_waits_for_dynamo(engine: str) -> None:
    """torch's optimisers import it in their first step, two seconds."""
    done = subprocess.run([sys.executable, "-c", DYNAMO, engine], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
