"""A captured step stays on the program's device and in its dtype: its operators, run where a tensor has no memory at all.

No test machine has an accelerator. On the meta device an operator that reads a value, or mixes devices, is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.compiler.graph.python_codegen import step_line
from sursum.networks.target import Target
from sursum.training.replayed import Replayed

X = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))


def program(dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 1)).to(dtype)

    def model(x: Tensor, y: Tensor) -> None:
        with su.plate("rows", 100, subsample_size=len(x)):
            su.sample("y", dist.Normal(su.module("net", net)(x).squeeze(-1), 0.5), obs=y)

    return su.lift(model, {"net.**": dist.Normal(0.0, 1.0)})


def captured(kind: str, dtype: torch.dtype) -> Iterator[Replayed]:
    lifted, x, y = program(dtype), X.to(dtype), X[:, 0].to(dtype)
    if kind == "SGMCMC":
        target = Target(lifted, (x, y), {}, title="SGLD")
        target.step.prepare(target.leaves, (x, y))
        step = target.step
    else:
        guide = getattr(su.infer.autoguide, kind)(lifted)
        svi = su.infer.SVI(lifted, guide, su.optim.Adam({"lr": 1e-3}), seed=0, progress=False, engine="torch")
        svi.step(x, y)
        (engine,) = svi._batch_steps.by_shape.values()
        step = engine.step  # type: ignore[attr-defined]
    for found in step._known.values():
        yield found.replay


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["AutoDelta", "AutoNormal", "SGMCMC"])
def test_a_step_stays_where_it_is(kind: str, dtype: torch.dtype) -> None:
    replays = list(captured(kind, dtype))
    assert replays
    for replay in replays:
        graph = replay.graph
        for node in graph.nodes:
            assert node.kwargs.get("device") in (None, torch.device("cpu")), node
            assert "_local_scalar_dense" not in node.op._schema.name
        wide = {value.dtype for value in graph.values.values() if value.dtype.is_floating_point}
        assert wide <= {dtype, torch.float32}, "in bfloat16 layer norm keeps its statistics in single precision, as torch does"
        where = lambda kwargs: {name: torch.device("meta") if name == "device" else item for name, item in kwargs.items()}
        there = replace(
            graph,
            constants={id: constant.to("meta") for id, constant in graph.constants.items()},
            nodes=tuple(replace(node, kwargs=where(node.kwargs)) for node in graph.nodes),
            guards=(),
        )
        _, run = step_line(there, replay.inputs)
        inputs = [torch.empty_strided(ref.size, ref.stride, dtype=ref.dtype, device="meta") for ref in replay.inputs]
        _, outputs = run(None, *inputs)
        assert {output.device.type for output in outputs} == {"meta"}
        assert {output.dtype for output in outputs[1:]} == {dtype}, "the gradients"
