"""Sweeps over whole numbers where a density is no number, infinite, zero or flat; with no other unknowns; under sanitizers."""

from __future__ import annotations

import numpy as np
import pytest
from tests.mcmc.kernel import hostile
from tests.mcmc.kernel.hostile import MODES
from tests.mcmc.kernel.hostile_gibbs import DENSITY, LIMITS, PROGRAM, HostileWhole, begin
from tests.mcmc.kernel.targets import KERNELS

from sursum.errors import CompileError
from sursum.mcmc.kernel import native
from sursum.mcmc.kernel.gibbs import advance_held
from sursum.mcmc.kernel.native import HeldInC, NativeKernel
from sursum.mcmc.kernel.state import RECORD, State

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def kernel() -> NativeKernel:
    try:
        return NativeKernel.open()
    except CompileError:
        pytest.skip("no C compiler")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return hostile.library(tmp_path_factory.mktemp("whole"), DENSITY)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("free", [0, 2])
def test_where_the_density_is_no_number_both_do_the_same(kernel, library, free, mode, name):
    density = HostileWhole(library, free, mode)
    state = begin(density, key=5, kernel=KERNELS[name], max_depth=4, max_halvings=4, max_steps=20)
    held, by_numpy, stop = HeldInC(density, density.native()), density.by_numpy(), np.zeros(1, dtype=np.int64)
    seen = []
    for _ in range(14):
        other = State.of(state.copy())
        q, g, records = np.empty((1, density.dim)), np.empty((1, free)), np.zeros(1, RECORD)
        assert kernel.gibbs(state, 1, stop, q, g, records, held) == 1
        p, h, rows = np.empty((1, density.dim)), np.empty((1, free)), np.zeros(1, RECORD)
        assert advance_held(other, 1, density.value_and_grad, lambda: 0, p, h, rows, by_numpy) == 1
        np.testing.assert_array_equal(q[:, free:], p[:, free:])
        np.testing.assert_allclose(q, p, rtol=1e-10)
        np.testing.assert_allclose(g, h, rtol=1e-8, atol=1e-9)
        assert records["value"][0] == pytest.approx(density.value_and_grad(q[0])[0], rel=1e-12)
        seen.append(q[0])
    whole = np.array(seen)[:, free:]
    assert np.isfinite(seen).all()
    assert (whole == whole.round()).all()
    assert ((whole >= LIMITS[:, 0]) & (whole <= LIMITS[:, 1])).all()
    if mode in ("plain", "flat"):
        assert (whole != whole[0]).any(0).all()  # they move
    if mode in MODES[1:6]:
        assert (np.array(seen)[:, 0] <= 0.8).all()


def states_and_modes(library) -> tuple[list[State], list[str]]:
    found, modes = [], []
    for free in (0, 1, 7, 40):
        for name in KERNELS.values():
            for mode in MODES:
                fields = {"kernel": name, "num_warmup": 60, "key": len(found), "max_depth": 8, "max_steps": 60}
                found.append(begin(HostileWhole(library, free, mode), **fields))
                modes.append(mode)
    return found, modes


def test_chains_in_threads_are_the_chains_one_after_another(library, tmp_path):
    made = hostile.program(tmp_path, native.source(), "-O3", chains=DENSITY + PROGRAM)
    states, modes = states_and_modes(library)
    alone, _ = hostile.run(made, states, modes, threads=False)
    together, _ = hostile.run(made, states, modes, threads=True)
    assert alone == together
    at = 0
    for state in states:
        after = State.of(np.frombuffer(alone, np.uint8)[at : at + state.block.nbytes].copy())
        assert after.head["draw"] == hostile.DRAWS
        assert np.isfinite(after.point).all()
        assert (after["held"] == after["held"].round()).all()
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
    made = hostile.program(tmp_path, native.source(), *flags, chains=DENSITY + PROGRAM)
    states, modes = states_and_modes(library)
    _, said = hostile.run(made, states, modes, threads=threads)
    assert said == ""


@slow
@pytest.mark.parametrize(
    ("flag", "old", "new", "says"),
    [
        ("-fsanitize=address", "memcpy(row + n, a.held, m", "memcpy(row + n + m, a.held, m", "heap-buffer-overflow"),
        ("-fsanitize=thread", "    h->index = 0;", "    h->index = 0;\n    static int64_t shared;\n    shared++;", "data race"),
    ],
    ids=["memory", "threads"],
)
def test_sanitizers_would_find_a_fault(library, tmp_path, flag, old, new, says):
    assert native.source().count(old) == 1
    made = hostile.program(tmp_path, native.source().replace(old, new), flag, chains=DENSITY + PROGRAM)
    states, modes = states_and_modes(library)
    with pytest.raises(AssertionError, match=says):
        hostile.run(made, states[:28], modes[:28], threads=True)
