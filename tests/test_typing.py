"""What a type checker knows of a user's code: programs keep their types through handlers, methods say what they give."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

USERS = """
import torch
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.handlers import Messenger, Site, handler, perform


def model(x: Tensor, y: Tensor | None = None) -> Tensor:
    return su.sample("y", dist.Normal(su.param("b", torch.tensor(0.0)) * x, 1.0), obs=y)


@su.condition(data={"b": torch.tensor(1.0)})
def program(x: Tensor) -> float:
    return float(model(x).sum())


class Study:
    @su.seed(rng_seed=0)
    def draw(self, x: Tensor) -> Tensor:
        return model(x)

    @property
    def lifted(self) -> su.lift[[Tensor], Tensor]:
        return su.lift(self.draw, {})


@handler
class shout(Messenger):
    def handle(self, site: Site) -> object:
        return perform(site)


x = torch.ones(2)
lifted = su.lift(model, prior={"b": dist.Normal(0.0, 1.0)})
reveal_type(lifted)  # lift[[x: Tensor, y: Tensor | None =], Tensor]
reveal_type(lifted(x))  # Tensor
reveal_type(su.condition(lifted, data={})(x, y=x))  # Tensor
reveal_type(su.reparam(su.mask(su.scale(su.block(lifted), scale=2.0), mask=x > 0), {})(x))  # Tensor
reveal_type(su.substitute(su.replay(su.uncondition(su.reprior(lifted, {})), trace=su.Trace()), data={})(x))  # Tensor
reveal_type(program(x))  # float
reveal_type(Study().draw(x))  # Tensor
reveal_type(Study().lifted)  # lift[[Tensor], Tensor]
reveal_type(shout(model)(x))  # Any
lifted("a text")  # wrong: arg-type
program(x, 3)  # wrong: call-arg
su.trace(model).get_trace()  # wrong: call-arg

with su.trace() as t, su.seed(rng_seed=0), su.ParamStore() as store:
    model(x)
reveal_type(t.trace)  # Trace
reveal_type(store["b"])  # Tensor
reveal_type(su.trace(lifted).get_trace(x))  # Trace
with su.plate("data", 3) as rows:
    reveal_type(rows)  # Tensor

posterior = su.infer.MCMC(su.infer.NUTS(lifted)).run(x, x)
svi = su.infer.SVI(lifted, su.infer.autoguide.AutoNormal(lifted), su.optim.Adam({"lr": 0.1}))
reveal_type(posterior)  # Posterior
reveal_type(posterior["b"])  # Tensor
reveal_type(posterior.warmup)  # Draws
reveal_type(posterior.num_samples)  # int
reveal_type(posterior.summary())  # Summary
reveal_type(posterior.predict(x))  # Prediction
reveal_type(svi.params)  # ParamStore[..., Any]
reveal_type(svi.run(10, x))  # SVIResult
reveal_type(svi.sample(10))  # Posterior
reveal_type(su.infer.Fit(model).run(x, x))  # FitResult
reveal_type(su.infer.Laplace(lifted).run(x, x))  # Posterior
reveal_type(su.infer.Pathfinder(lifted).run(x, x))  # Posterior
reveal_type(su.infer.Importance(lifted).run(x, x))  # ImportanceSamples
reveal_type(su.infer.SBC(lifted).run(x, x))  # SBCResult
reveal_type(su.report(lifted, x))  # Report
reveal_type(su.compile(lifted, x))  # CompiledDensity
reveal_type(su.compile(lifted, x).benchmark())  # Benchmark
"""


def test_a_users_code_keeps_its_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    path = tmp_path / "users.py"
    path.write_text(USERS)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=550)
    expected, found = {}, {}
    for number, line in enumerate(USERS.splitlines(), 1):
        code, _, said = line.partition("  # ")
        if said:
            expected[number] = said if "reveal_type" in code else said.removeprefix("wrong: ")
    for number, kind, text in re.findall(r"^[^:\n]*users\.py:(\d+): (\w+): (.*)$", done.stdout, re.M):
        # Only the last part of a dotted name is looked at: where a class is defined may change.
        plain = re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)
        shown = re.search(r'Revealed type is "(.*)"', plain) if kind == "note" else re.search(r"\[([\w-]+)\]$", plain)
        if shown is not None:
            # Releases of mypy write parameters that are not known in two ways.
            found[int(number)] = shown.group(1).replace("[*Any, **Any]", "...")
    assert found == expected, done.stdout + done.stderr
