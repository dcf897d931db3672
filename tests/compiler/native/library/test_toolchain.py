"""Flags: who gets the widest vectors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.compiler.native.build import translate
from sursum.compiler.native.library import toolchain
from sursum.compiler.native.library.toolchain import WIDE, Toolchain

TOOLS = Toolchain(("cc",), "cc 1", ("-O3", WIDE[0], "-fPIC"), frozenset(), "here", wide=True)


def test_long_loops_take_the_widest_vectors_where_those_are_no_slower():
    assert TOOLS.options(10, long_loops=True) == ("-O3", WIDE[1], "-fPIC")
    assert TOOLS.options(10) == TOOLS.flags
    assert TOOLS.options(2000, long_loops=True) == ("-O2", WIDE[1], "-fPIC")
    narrow = Toolchain(("cc",), "cc 1", TOOLS.flags, frozenset(), "here")
    assert narrow.options(10, long_loops=True) == narrow.flags
    assert TOOLS.key("text", 10) != TOOLS.key("text", 10, long_loops=True)


def test_a_library_is_known_by_its_code_and_not_by_what_is_said_of_it():
    key = TOOLS.key('/* "mu", model.py:7 */\nint x = 1;\nputs("/* a */ it\'s");\n', 10)
    assert TOOLS.key('int x = 1;  // it\'s model.py:9\n\n/* "nu",\n model.py:9 */ \nputs("/* a */ it\'s");', 10) == key
    for other in (
        'int x = 2;\nputs("/* a */ it\'s");',
        'int x = 1;\nputs("/* b */ it\'s");',
        'int x = 1; /* puts("/* a */ it\'s"); */',
    ):
        assert TOOLS.key(other, 10) != key


@pytest.mark.parametrize(
    ("cpuinfo", "wide"),
    [
        ("vendor_id : GenuineIntel\nflags : fpu avx2 avx512f avx512vl\n", False),
        ("vendor_id : GenuineIntel\nflags : fpu avx2 avx512f avx512_fp16\n", True),
        ("vendor_id : AuthenticAMD\nflags : fpu avx2 avx512f\n", True),
        ("vendor_id : AuthenticAMD\nflags : fpu avx2\n", False),
        ("Features : fp asimd\n", False),
    ],
)
def test_which_processors_those_are(cpuinfo, wide, monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda *args, **kwargs: cpuinfo)
    assert toolchain.wide_vectors() is wide


def schools(count):
    def program():
        mu = su.sample("mu", dist.Normal(0.0, 5.0))
        with su.plate("school", count):
            theta = su.sample("theta", dist.Normal(mu, 1.0))
            su.sample("y", dist.Normal(theta, 1.0), obs=torch.zeros(count))

    return program


@pytest.mark.parametrize(("count", "long"), [(8, False), (100, True)])
def test_a_program_knows_whether_its_loops_are_long(count, long):
    graph = su.compile(schools(count), engine="torch").graph
    assert translate(graph, "schools")[0].long_loops is long


def test_the_loops_of_a_scan_count_once_for_each_step():
    def program(steps, width):
        start = torch.zeros(width, dtype=torch.float64)
        drift = su.sample("drift", dist.Normal(torch.zeros(40), 1.0).to_event(1)).double()
        end, _ = su.scan(lambda carry, x: (torch.tanh(carry + drift[:width] * x), None), start, torch.ones(steps))
        su.factor("f", -end.square().sum())

    graphs = [su.compile(program, 200, width, engine="torch").graph for width in (3, 40)]
    assert [translate(graph, "scan")[0].long_loops for graph in graphs] == [False, True]


def test_long_loops_call_the_vector_forms_of_libmvec(tmp_path, monkeypatch):
    """The library's symbols say whether gcc vectorised a loop over exponentials: a scalar loop would call `exp`."""
    monkeypatch.setenv("SURSUM_CACHE", str(tmp_path))
    tools = toolchain.detect(tmp_path)
    if "exp" not in tools.vector:
        pytest.skip("no libmvec here")

    def program():
        x = su.sample("x", dist.Normal(torch.zeros(300, dtype=torch.float64), 1.0).to_event(1))
        su.factor("f", -torch.exp(x).sum())

    su.compile(program, engine="native")
    (library,) = tmp_path.glob("*.so")
    symbols = library.read_bytes()
    assert any(f"_ZGV{lanes}v_exp".encode() in symbols for lanes in ("bN2", "cN4", "dN4", "eN8", "nN2"))
