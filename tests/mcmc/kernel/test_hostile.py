"""The kernels where a density is no number, infinite, zero or flat; with few unknowns and many; and under sanitizers."""

from __future__ import annotations

import numpy as np
import pytest
from tests.mcmc.kernel import hostile
from tests.mcmc.kernel.hostile import MODES, Hostile
from tests.mcmc.kernel.targets import KERNELS, begin, metrics, same_transitions

from sursum.errors import CompileError
from sursum.mcmc.kernel import native
from sursum.mcmc.kernel.native import NativeKernel
from sursum.mcmc.kernel.state import State

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def kernel() -> NativeKernel:
    try:
        return NativeKernel.open()
    except CompileError:
        pytest.skip("no C compiler")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return hostile.library(tmp_path_factory.mktemp("hostile"))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", [1, 6])
def test_where_the_density_is_no_number_both_kernels_do_the_same(kernel, library, n, mode, name):
    density = Hostile(library, n, mode)
    for metric in metrics(n).values():
        at = np.zeros(n)  # where every component of the gradient is zero
        state = begin(density, at, num_warmup=8, metric=metric, kernel=KERNELS[name], max_depth=4, max_halvings=4, max_steps=20)
        q = same_transitions(kernel, density, state, 14)
        assert np.isfinite(q).all()
        if mode in MODES[1:6]:
            assert (q[:, 0] <= 0.8).all()


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("which", ["adapted", pytest.param("low rank", marks=slow), pytest.param("dense", marks=slow)])
def test_a_thousand_unknowns(kernel, library, name, which):
    density = Hostile(library, 1000, "plain")
    metric = None if which == "adapted" else metrics(1000)[which]
    state = begin(density, num_warmup=4, metric=metric, kernel=KERNELS[name], max_depth=4, max_halvings=3)
    same_transitions(kernel, density, state, 6)


def states_and_modes(library) -> tuple[list[State], list[str]]:
    """Every kernel with every metric and every mode, for few unknowns and for many."""
    found, modes = [], []
    for n in (1, 7, 100):
        for metric in metrics(n).values():
            for name in KERNELS.values():
                for mode in MODES if n == 7 else MODES[:1]:
                    fields = {"kernel": name, "metric": metric, "num_warmup": 60, "key": len(found)}
                    found.append(begin(Hostile(library, n, mode), 0.1, **fields, max_depth=8, max_steps=60))
                    modes.append(mode)
    return found, modes


def test_chains_in_threads_are_the_chains_one_after_another(library, tmp_path):
    made = hostile.program(tmp_path, native.source(), "-O3")
    states, modes = states_and_modes(library)
    alone, _ = hostile.run(made, states, modes, threads=False)
    together, _ = hostile.run(made, states, modes, threads=True)
    assert alone == together
    at = 0
    for state in states:
        after = State.of(np.frombuffer(alone, np.uint8)[at : at + state.block.nbytes].copy())
        assert after.head["draw"] == hostile.DRAWS
        assert np.isfinite(after["position"]).all()
        at += state.block.nbytes


@slow
@pytest.mark.parametrize(
    ("flags", "threads"),
    [
        (("-fsanitize=address,undefined", "-fno-sanitize-recover=all"), False),
        (("-fsanitize=address,undefined", "-fno-sanitize-recover=all"), True),
        (("-fsanitize=thread",), True),
    ],
    ids=["memory", "memory in threads", "threads"],
)
def test_sanitizers_find_nothing(library, tmp_path, flags, threads):
    made = hostile.program(tmp_path, native.source(), *flags)
    states, modes = states_and_modes(library)
    _, said = hostile.run(made, states, modes, threads=threads)
    assert said == ""


@slow
@pytest.mark.parametrize(
    ("flag", "old", "new", "says"),
    [
        ("-fsanitize=address", "positions + made * n", "positions + (made + 1) * n", "heap-buffer-overflow"),
        ("-fsanitize=thread", "    w->steps++;", "    w->steps++;\n    static int64_t shared;\n    shared++;", "data race"),
    ],
    ids=["memory", "threads"],
)
def test_sanitizers_would_find_a_fault(library, tmp_path, flag, old, new, says):
    assert native.source().count(old) == 1
    made = hostile.program(tmp_path, native.source().replace(old, new), flag)
    states, modes = states_and_modes(library)
    with pytest.raises(AssertionError, match=says):
        hostile.run(made, states[:8], modes[:8], threads=True)
