"""`python -m sursum`, as a user calls it."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys

import pytest

from sursum.__main__ import main
from sursum.show.doctor import examine_ray


def call(*arguments, **environment):
    command = [sys.executable, "-m", "sursum", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env={**os.environ, **environment})


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_all_is_well_and_then_the_cache_is_cleared(cache, monkeypatch, capsys):
    monkeypatch.setenv("SURSUM_CACHE", str(cache))
    monkeypatch.setattr(sys, "argv", ["sursum", "doctor"])
    monkeypatch.delitem(sys.modules, "sursum.__main__")  # as if by `python -m sursum`, without another import of torch
    with pytest.raises(SystemExit) as end:
        runpy.run_module("sursum", run_name="__main__")
    done = capsys.readouterr()
    assert end.value.code == 0, done.out + done.err
    assert done.out.endswith("\nAll is well.\n")
    lines = done.out.splitlines()
    for name in (
        "python",
        "torch",
        "compiler",
        "flags",
        "vector math",
        "BLAS",
        "kernels",
        "cache",
        "native engine",
        "torch engine",
    ):
        assert any(line[8:].startswith(name) for line in lines), name
    assert "-O3" in done.out
    assert done.out.count("right mean") == 2
    assert str(cache) in done.out

    (cache / "letter.txt").write_text("not ours")
    assert main(["cache"]) == 0
    shown = capsys.readouterr().out
    assert shown.split(": ")[0] == str(cache)
    count = shown.split(": ")[1].split()[0]
    assert int(count) >= 3  # a library, its text, the toolchain
    assert main(["cache", "--clear"]) == 0
    cleared = capsys.readouterr()
    assert cleared.err == ""
    assert cleared.out.startswith(f"{cache}: removed {count} files")
    assert [file.name for file in cache.iterdir()] == ["letter.txt"]


@pytest.mark.slow
def test_without_a_compiler(cache):
    done = call("doctor", SURSUM_CACHE=str(cache), CC="no-such-compiler")
    assert done.returncode == 1
    assert "FAILED  compiler" in done.stdout
    assert "no C compiler: looked for no-such-compiler, which is what CC says. Install one" in done.stdout
    assert "FAILED  native engine" in done.stdout
    assert "    ok  torch engine" in done.stdout
    assert "things do not work." in done.stdout


def test_a_user_without_a_home(monkeypatch, capsys):
    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME", "SURSUM_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert main(["cache"]) == 0
    assert capsys.readouterr().out.startswith("nothing is cached: ")


def test_a_cache_that_is_not_there(cache, monkeypatch, capsys):
    monkeypatch.setenv("SURSUM_CACHE", str(cache))
    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == f"{cache}: removed 0 files, 0.0 MB\n"
    assert not cache.exists()


@pytest.mark.parametrize("arguments", [(), ("docter",), ("cache", "--burn")])
def test_commands_that_are_none(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert end.value.code == 2
    assert "usage: python -m sursum" in capsys.readouterr().err


@pytest.mark.slow
def test_ray_is_examined():
    pytest.importorskip("ray")
    found = {finding.name: finding for finding in examine_ray()}
    assert [finding.works for finding in found.values()] == [True, True, True]
    assert "right mean" in found["draws there"].said
