"""Many calls and many compilations leave nothing behind, and threads get the bits that one gets."""

from __future__ import annotations

import gc
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.compiler.native.network_operators import NETWORKS, SYSTEMS
from tests.compiler.native.operators import ALGEBRA, ORDER, SPECIAL
from torch import Tensor

from sursum.compiler.capture.capture import capture
from sursum.compiler.native.build import build
from sursum.compiler.native.library.library import NativeFunction
from sursum.compiler.passes import optimise

POINTS = tuple(torch.linspace(low, low + 1.5, 24, dtype=torch.float64) for low in (0.1, 0.2))


def resident() -> int:
    """Bytes of this process that are in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    pytest.skip("no /proc/self/status here")


def everything(q: Tensor) -> list[Tensor]:
    """One result of every family of operators that calls C functions of ours."""
    x, y = q[:12].view(3, 4), q[12:].view(3, 4)
    found: list[Tensor] = []
    for rows in (
        SYSTEMS,
        ALGEBRA,
        ORDER,
        SPECIAL,
        {name: NETWORKS[name] for name in ("aten.convolution", "aten.native_layer_norm")},
    ):
        for cases in rows.values():
            result = cases[0](x, y)
            found += [result] if isinstance(result, Tensor) else list(result)
    return found


def density(scale: float) -> NativeFunction:
    """A small density; each scale has a C text of its own."""
    graph = optimise(
        capture(lambda q: -(q * scale).square().sum() - (q * scale).exp().cumsum(0).log().sum(), POINTS, gradient=True)
    )
    return build(graph, title=f"density {scale}")


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> NativeFunction:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the contract's rows, some are operators that torch will give up
        graph = optimise(capture(everything, POINTS, gradient=False))
    return build(graph, title="everything", directory=tmp_path_factory.mktemp("leaks"))


def test_many_calls_leave_nothing(function: NativeFunction) -> None:
    instance, q, out = function.instance(), POINTS[0].numpy(), np.empty(function.size)
    for _ in range(1000):
        instance.run(q, out)
    before = resident()
    for _ in range(20_000):
        instance.run(q, out)
    assert resident() - before < 2**18  # 16 bytes a call would be more


def test_threads_get_the_same_bits(function: NativeFunction) -> None:
    rng = np.random.default_rng(0)
    points = [0.2 + rng.random(24) for _ in range(40)]
    alone = [[part.tobytes() for part in function.outputs(q)] for q in points]
    wrong: list[int] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(5):
            for k, q in enumerate(points):
                if [part.tobytes() for part in function.outputs(q)] != alone[k]:
                    wrong.append(k)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.slow
def test_a_hundred_compilations_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURSUM_CACHE", str(tmp_path))

    def some(first: int, count: int) -> None:
        for k in range(first, first + count):
            density(1.0 + k / 1000).value_and_grad(POINTS[0])
        gc.collect()

    some(0, 20)
    mapped = Path("/proc/self/maps").read_text().count(str(tmp_path))
    before = resident()
    some(20, 100)
    assert resident() - before < 100 * 2**15  # a library alone takes as much, its workspace and graph more
    assert Path("/proc/self/maps").read_text().count(str(tmp_path)) <= mapped
