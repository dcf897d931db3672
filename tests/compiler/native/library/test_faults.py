"""What can go wrong around a compiled density, and what is done about it."""

from __future__ import annotations

import _ctypes
import ctypes
import errno
import gc
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.paths import ROOT

import sursum as su
import sursum.distributions as dist
from sursum.compiler.native.library import cache, compilers, libmvec, loaded, toolchain
from sursum.compiler.native.library.cache import default_directory, find_library, open_directory, seal
from sursum.compiler.native.library.compilers import find_compiler
from sursum.compiler.native.library.loaded import load
from sursum.compiler.native.library.toolchain import detect, machine
from sursum.compiler.native.lower import OPERATORS
from sursum.compiler.native.proof import ProofError
from sursum.errors import CompileError, DiagnosticWarning, EngineWarning, ObservationError
from sursum.io.file_lock import FileLock

D = torch.float64
Q = np.array([0.3, -0.2])


def program(y=(1.0, 2.0, 4.0)):
    mu = su.sample("mu", dist.Normal(torch.zeros((), dtype=D), 2.0))
    sigma = su.sample("sigma", dist.Exponential(torch.ones((), dtype=D)))
    su.sample("y", dist.Normal(mu, sigma).expand([len(y)]).to_event(1), obs=torch.tensor(y, dtype=D))


def wanted(y=(1.0, 2.0, 4.0)):
    """The log density and gradient, by hand."""
    mu, u = Q
    sigma, y = np.exp(u), np.array(y)
    z = (y - mu) / sigma
    value = -(mu**2) / 8 - np.log(2) - sigma + u - (z**2).sum() / 2 - len(y) * u - (len(y) + 1) * np.log(2 * np.pi) / 2
    return value, np.array([-mu / 4 + z.sum() / sigma, 1 - sigma + (z**2).sum() - len(y)])


def check(density, y=(1.0, 2.0, 4.0)):
    value, gradient = density.value_and_grad(Q)
    np.testing.assert_allclose(value, wanted(y)[0], rtol=1e-12)
    np.testing.assert_allclose(gradient, wanted(y)[1], rtol=1e-12)


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """An empty cache of this test's own."""
    directory = tmp_path / "cache"
    monkeypatch.setenv("SURSUM_CACHE", str(directory))
    return directory


def libraries(directory):
    return sorted(directory.glob("*.so"))


# Compilers.


@pytest.fixture
def no_compiler(monkeypatch, cached):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(compilers, "find_spec", lambda name: None)


def test_without_a_compiler_torch_runs_it_and_one_warning_says_what_to_install(no_compiler):
    with pytest.warns(
        EngineWarning,
        match=r"looked for cc, gcc, clang and the package ziglang\. Install one .*apt install gcc.*sursum\[compiler\]",
    ) as caught:
        density = su.compile(program)
    assert len(caught) == 1
    assert Path(caught[0].filename).name == "test_faults.py"
    assert density.engine == "torch"
    check(density)
    with pytest.raises(CompileError, match="no C compiler"):
        su.compile(program, engine="native")


def test_without_a_compiler_everything_works(no_compiler):
    mcmc = su.infer.MCMC(su.infer.NUTS(program), num_warmup=60, num_samples=40, num_chains=2, seed=3, progress=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        posterior = mcmc.run()
    assert [w for w in caught if issubclass(w.category, EngineWarning) and "no C compiler" in str(w.message)]
    assert posterior["mu"].shape == (2, 40)


def test_torch_can_be_asked_for_without_a_word(no_compiler, recwarn):
    check(su.compile(program, engine="torch"))
    assert not recwarn.list


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_compiler_that_fails_is_quoted(tmp_path, monkeypatch, cached):
    monkeypatch.setenv("CC", script(tmp_path / "cc", "echo 'internal error: out of ideas' >&2; exit 3"))
    with pytest.raises(CompileError, match=r"the C compiler .*cc failed; it says:\ninternal error: out of ideas"):
        su.compile(program, engine="native")
    with pytest.warns(EngineWarning, match="out of ideas"):
        check(su.compile(program))
    assert not libraries(cached)


def test_a_compiler_that_fails_late_leaves_nothing_behind(tmp_path, monkeypatch, cached):
    """It compiles the probes, and not the density."""
    real = find_compiler()[0]
    text = f'grep -q sursum_run "$(echo "$@" | tr " " "\\n" | grep density.c)" 2>/dev/null && exit 1; exec {real} "$@"'
    monkeypatch.setenv("CC", script(tmp_path / "cc", text))
    with pytest.raises(CompileError, match="failed; it says:\nexit code 1"):
        su.compile(program, engine="native")
    assert not libraries(cached)
    assert not list(cached.glob(".new-*"))


def test_a_compiler_that_writes_nothing_has_failed(tmp_path, monkeypatch, cached):
    monkeypatch.setenv("CC", script(tmp_path / "cc", "exit 0"))
    with pytest.raises(CompileError, match="failed; it says:\nexit code 0"):
        su.compile(program, engine="native")


@pytest.mark.parametrize("command", ["/nowhere/cc", "no-such-compiler --fast"])
def test_a_compiler_that_is_not_there_is_named(monkeypatch, cached, command):
    monkeypatch.setenv("CC", command)
    with pytest.raises(CompileError, match=f"looked for {command}"):
        su.compile(program, engine="native")


def test_options_in_cc_are_used(monkeypatch, cached, tmp_path):
    log = tmp_path / "log"
    monkeypatch.setenv("CC", script(tmp_path / "cc", f'echo "$@" >> {log}; exec {find_compiler()[0]} "$@"') + " -DMINE=1")
    check(su.compile(program, engine="native"))
    assert all("-DMINE=1" in line for line in log.read_text().splitlines() if "--version" not in line)


@pytest.mark.parametrize("flag", ["-march=native", "-fopenmp-simd", "-mprefer-vector-width=256"])
def test_a_compiler_without_a_flag_does_without_it(tmp_path, monkeypatch, cached, flag):
    text = f'case "$*" in *{flag}*) echo "unknown option {flag}" >&2; exit 1;; esac; exec {find_compiler()[0]} "$@"'
    monkeypatch.setenv("CC", script(tmp_path / "cc", text))
    check(su.compile(program, engine="native"))
    assert flag not in detect(None).flags


def test_without_libmvec_functions_are_called_one_by_one(monkeypatch, cached, tmp_path):
    # Compilers that nobody has asked yet.
    first, second = (script(tmp_path / name, f'exec {find_compiler()[0]} "$@"') for name in ("first", "second"))
    monkeypatch.setenv("CC", first)
    monkeypatch.setattr(libmvec.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert detect(None).vector == frozenset()
    monkeypatch.undo()
    monkeypatch.setenv("SURSUM_CACHE", str(cached))
    monkeypatch.setenv("CC", second)
    monkeypatch.setattr(toolchain, "vector_functions", lambda command, flags: frozenset())
    density = su.compile(program, engine="native")
    check(density)
    assert "simd(" not in density.source


def test_what_is_known_of_the_toolchain_is_found_out_again_where_it_is_damaged(cached):
    first = detect(open_directory(None))
    (memory,) = cached.glob("toolchain-*.json")
    whole = memory.read_text()
    otherwise = json.dumps({"version": "x", "flags": ["-O0"], "vector": [], "wide": False})
    for text in (
        "",
        "{",
        "[]",
        '{"version": 1}',
        otherwise,
        json.dumps({"facts": otherwise, "seal": json.loads(whole)["seal"]}),
    ):
        memory.write_text(text)
        assert detect(open_directory(None)) == first
    check(su.compile(program, engine="native"))


# The cache.


def test_a_new_cache_is_ours_alone(cached):
    check(su.compile(program, engine="native"))
    assert stat.S_IMODE(cached.stat().st_mode) == 0o700
    assert all(not stat.S_IMODE(file.stat().st_mode) & 0o077 for file in cached.iterdir())


@pytest.mark.parametrize("mode", [0o755, 0o2775, 0o1777, 0o777])
def test_a_directory_that_others_use_stays_as_it_is(cached, mode):
    """Where they can write, and so put another library in the place of ours, we have a folder of our own inside."""
    cached.mkdir()
    cached.chmod(mode)
    for _ in range(2):
        check(su.compile(program, engine="native"))
    assert stat.S_IMODE(cached.stat().st_mode) == mode
    inner = cached / f"sursum-{os.getuid()}"
    place = inner if mode & 0o022 else cached
    assert len(libraries(place)) == 1
    assert stat.S_IMODE(place.stat().st_mode) & 0o777 == (0o700 if mode & 0o022 else 0o755)
    assert su.compile(program, engine="native").native.cached
    assert {file.parent for file in cache.contents(cached)} == {place}
    assert cache.clear(cached) == []
    assert not libraries(place)


def test_a_folder_that_somebody_else_has_put_in_its_place_is_not_used(cached):
    cached.mkdir()
    cached.chmod(0o777)
    elsewhere = cached / "elsewhere"
    elsewhere.mkdir()
    (cached / f"sursum-{os.getuid()}").symlink_to(elsewhere)
    with pytest.warns(EngineWarning, match=r"sursum-\d+ is not a folder to which you alone can write"):
        check(su.compile(program, engine="native"))
    assert not libraries(elsewhere)


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.delenv("SURSUM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "sursum"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_directory() == Path.home() / ".cache" / "sursum"


def test_the_same_program_on_other_data_is_compiled_once(cached):
    first = su.compile(program, engine="native")
    second = first.with_data((5.0, 6.0, 7.5))
    assert (first.native.cached, second.native.cached) == (False, True)
    assert first.source == second.source
    assert len(libraries(cached)) == 1
    # Each has its own data, although the system loads one library once.
    for _ in range(2):
        check(first)
        check(second, (5.0, 6.0, 7.5))
    longer = first.with_data((5.0, 6.0, 7.5, 1.0))
    assert not longer.native.cached
    check(longer, (5.0, 6.0, 7.5, 1.0))
    with pytest.raises(ObservationError, match="'y' .*not finite"):
        first.with_data((5.0, float("nan"), 7.5))


def test_a_program_that_has_moved_in_its_file_is_not_compiled_again(cached):
    def before():
        su.sample("z", dist.Normal(torch.zeros((), dtype=D), 2.0))

    def moved():
        su.sample("with another name", dist.Normal(torch.zeros((), dtype=D), 2.0))

    first, second = (su.compile(one, engine="native") for one in (before, moved))
    assert first.source != second.source
    assert (first.native.cached, second.native.cached) == (False, True)
    assert len(libraries(cached)) == 1
    for one in (first, second):
        value, gradient = one.value_and_grad(np.array([1.0]))
        assert value == pytest.approx(-0.125 - np.log(2) - np.log(2 * np.pi) / 2, rel=1e-13)
        assert gradient.tolist() == [-0.25]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A cache with the library of the program, which is taken from it as it is."""
    directory = tmp_path_factory.mktemp("good") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SURSUM_CACHE", str(directory))
        assert su.compile(program, engine="native").engine == "native"
    return directory


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: b"",
        lambda good: good[:100],
        lambda good: good[:-1],
        lambda good: good[: len(good) // 2],
        lambda good: good[:2000] + bytes(255 - byte for byte in good[2000:2500]) + good[2500:],
        lambda good: good + b"\0",
        lambda good: b"not a library at all",
    ],
    ids=["empty", "a header", "a byte short", "half", "a hole", "a byte more", "foreign"],
)
def test_a_damaged_library_is_never_loaded(cached, good, damage):
    shutil.copytree(good, cached)
    (path,) = libraries(cached)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(damage(content))
    compiled_anew(cached, path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text(seal("an older key", path.with_suffix(".so").read_bytes())),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["older", "no text", "gone", "a folder"],
)
def test_a_library_without_its_seal_is_not_loaded(cached, good, damage):
    shutil.copytree(good, cached)
    (path,) = libraries(cached)
    damage(path.with_suffix(".seal"))
    if path.with_suffix(".seal").is_dir():
        with pytest.warns(EngineWarning, match="cannot be kept"):
            check(su.compile(program, engine="native"))
    else:
        compiled_anew(cached, path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_the_place_of_a_library_is_not_waited_for(cached, good):
    shutil.copytree(good, cached)
    (path,) = libraries(cached)
    path.unlink()
    os.mkfifo(path)
    compiled_anew(cached, path)


def compiled_anew(directory, path):
    density = su.compile(program, engine="native")
    assert not density.native.cached
    check(density)
    assert find_library(directory, path.stem) == path


def test_a_library_is_kept_as_the_compiler_wrote_it(cached, tmp_path):
    """It may be signed, and what is written behind a signature breaks it."""
    su.compile(program, engine="native")
    (path,) = libraries(cached)
    copy = tmp_path / "copy.so"
    compiler = [find_compiler()[0], "-O3", "-shared", "-fPIC", "-o", str(copy), "-x", "c", "-"]
    subprocess.run(compiler, input=b"int x(void) { return 0; }", check=True)
    # The table of sections is the last thing in a file of a linker: it ends where the file ends.
    for file in (copy, path):
        content = file.read_bytes()
        if content[:5] == b"\x7fELF\x02":
            table, size, count = (int.from_bytes(content[a:b], "little") for a, b in ((40, 48), (58, 60), (60, 62)))
            assert table + size * count == len(content)


# What cannot be loaded.


def unloadable(monkeypatch, *places):
    """As where a file system is mounted noexec: nothing that lies in these places can be loaded."""
    real = ctypes.CDLL

    def load(name, *args, **kwargs):
        if any(str(name).startswith(str(place)) for place in places):
            raise OSError(f"{name}: failed to map segment from shared object")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(loaded.ctypes, "CDLL", load)


def test_a_cache_from_which_nothing_can_be_executed_still_saves_compiling(cached, monkeypatch, recwarn):
    unloadable(monkeypatch, cached)
    check(su.compile(program, engine="native"))
    again = su.compile(program, engine="native")
    assert again.native.cached
    check(again)
    assert not recwarn.list


def test_where_nothing_can_be_executed_torch_takes_over_with_one_warning(cached, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    unloadable(monkeypatch, tmp_path)
    with pytest.warns(EngineWarning, match=r"cannot be loaded .*noexec\), set SURSUM_CACHE or TMPDIR") as caught:
        density = su.compile(program)
    assert len(caught) == 1
    assert density.engine == "torch"
    check(density)
    with pytest.raises(CompileError, match="failed to map segment"):
        su.compile(program, engine="native")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("echo rubbish", "cannot be loaded"),
        (": ", "cannot be loaded"),
        ("{real} -shared -fPIC -xc /dev/null -o /dev/stdout", "no function 'sursum_run'"),
    ],
    ids=["rubbish", "nothing", "another library"],
)
def test_a_compiler_that_writes_something_else_gives_way_to_torch(tmp_path, monkeypatch, cached, written, said):
    written = written.format(real=find_compiler()[0])
    text = f'while [ "$1" != -o ]; do shift; done; {written} > "$2"'
    monkeypatch.setenv("CC", script(tmp_path / "cc", text))
    with pytest.warns(EngineWarning, match=said) as caught:
        density = su.compile(program)
    assert len(caught) == 1
    assert density.engine == "torch"
    check(density)
    assert not libraries(cached)


def test_a_system_that_lets_libraries_go_by_another_name(monkeypatch, cached):
    released = []
    monkeypatch.delattr(_ctypes, "dlclose", raising=False)
    monkeypatch.setattr(_ctypes, "FreeLibrary", released.append, raising=False)
    density = su.compile(program, engine="native")
    check(density)
    gc.collect()
    released.clear()  # those of other densities, which nobody has any more
    del density
    gc.collect()
    assert len(released) == 1
    monkeypatch.delattr(_ctypes, "FreeLibrary")
    check(su.compile(program, engine="native"))


# Where the compiler is.


def test_a_compiler_called_by_the_name_of_a_link_keeps_that_name(tmp_path, monkeypatch, cached):
    """As ccache's folder of links: which compiler is meant it knows by the name under which it is called."""
    (tmp_path / "links").mkdir()
    text = f'case "$(basename "$0")" in cc) exec {find_compiler()[0]} "$@";; esac; echo "invalid option" >&2; exit 1'
    script(tmp_path / "wrapper", text)
    (tmp_path / "links" / "cc").symlink_to("../wrapper")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'links'}{os.pathsep}{os.environ['PATH']}")
    check(su.compile(program, engine="native"))


@pytest.mark.parametrize("command", ["./my cc", "'./my cc' -DMINE=1", "it's cc", "./it's cc"])
def test_a_relative_or_quoted_path_of_a_compiler(tmp_path, monkeypatch, cached, command):
    for name in ("my cc", "it's cc"):
        script(tmp_path / name, f'exec {find_compiler()[0]} "$@"')
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{tmp_path}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CC", command)
    check(su.compile(program, engine="native"))


def test_a_quotation_mark_too_few_is_a_compiler_that_is_not_there(monkeypatch, cached):
    monkeypatch.setenv("CC", "gcc '-O2")
    with pytest.raises(CompileError, match="looked for gcc '-O2, which is what CC says"):
        su.compile(program, engine="native")


def test_the_compiler_of_a_package_is_the_last_that_is_tried(tmp_path, monkeypatch, cached):
    """`pip install 'sursum[compiler]'` brings the package ziglang, whose program is a C compiler when called with cc."""
    monkeypatch.delenv("CC", raising=False)
    real = find_compiler()[0]
    package = tmp_path / "ziglang"
    package.mkdir()
    (package / "__init__.py").write_text("")
    text = f'[ "$1" = cc ] || exit 1; shift; PATH={os.environ["PATH"]} exec {real} "$@"'
    program_of_it = script(package / "zig", text)
    monkeypatch.syspath_prepend(tmp_path)
    assert find_compiler() == (real,)
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_compiler() == (program_of_it, "cc")
    check(su.compile(program, engine="native"))


def test_a_library_for_another_processor_or_compiler_is_not_taken(cached, monkeypatch):
    su.compile(program, engine="native")
    monkeypatch.setattr(toolchain, "machine", lambda: "another processor")
    assert not su.compile(program, engine="native").native.cached
    assert len(libraries(cached)) == 2
    monkeypatch.undo()
    monkeypatch.setenv("SURSUM_CACHE", str(cached))
    monkeypatch.setenv("CC", f"{find_compiler()[0]} -DANOTHER=1")
    assert not su.compile(program, engine="native").native.cached
    assert len(libraries(cached)) == 3
    assert "GNU" in machine() or "glibc" in machine() or sys.platform != "linux"


@pytest.mark.parametrize("where", ["a file", "under a file", "/proc/nothing"])
def test_without_a_place_for_it_every_process_compiles(tmp_path, monkeypatch, where):
    (tmp_path / "a file").write_text("")
    paths = {
        "a file": tmp_path / "a file",
        "under a file": tmp_path / "a file" / "cache",
        "/proc/nothing": Path("/proc/nothing"),
    }
    monkeypatch.setenv("SURSUM_CACHE", str(paths[where]))
    with pytest.warns(EngineWarning, match="compiled densities cannot be kept: .* set SURSUM_CACHE to a directory"):
        density = su.compile(program, engine="native")
    check(density)


def test_a_full_disk_is_no_reason_to_fail(cached, monkeypatch):
    detect(open_directory(None))

    def full(path, content, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "write_atomically", full)
    with pytest.warns(EngineWarning, match="cannot be kept: .*No space left on device"):
        density = su.compile(program, engine="native")
    check(density)
    assert not libraries(cached)


def test_a_directory_of_somebody_else_is_not_used(cached, monkeypatch):
    cached.mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: cached.stat().st_uid + 1)
    # The superuser's are trusted, but not a folder inside that is not the user's own.
    with pytest.warns(EngineWarning, match="belongs to somebody else|not a folder to which you alone can write"):
        assert open_directory(None) is None


def test_what_another_compiles_is_waited_for(cached, tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("CC", script(tmp_path / "cc", f'echo "$@" >> {log}; sleep 0.1; exec {find_compiler()[0]} "$@"'))
    detect(open_directory(None))
    log.unlink()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: load("int seven(void) { return 7; }", ["seven"]), range(4)))
    assert len(log.read_text().splitlines()) == 1
    assert sorted(one.cached for one in found) == [False, True, True, True]
    assert {one.handle.seven() for one in found} == {7}
    (path,) = libraries(cached)
    (lock,) = cached.glob("compiling-*")
    assert lock.name == f"compiling-{path.stem[:2]}"
    # One that never ends is not waited for forever.
    held = FileLock.take(lock)
    monkeypatch.setattr("sursum.compiler.native.library.cache.PATIENCE", 0.1)
    path.with_suffix(".seal").unlink()
    assert not load("int seven(void) { return 7; }", ["seven"]).cached
    held.release()
    assert cache.clear(cached) == []
    assert not list(cached.iterdir())


CHILD = """
import sys, time, numpy as np
from tests.compiler.native.library.test_faults import program, check
import sursum as su
print("ready", flush=True)
sys.stdin.readline()
density = su.compile(program, engine="native")
check(density)
print("done", flush=True)
"""


@pytest.mark.slow
def test_two_processes_may_compile_one_density_at_once(cached):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(su.__file__).parents[1])])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([sys.executable, "-c", CHILD], env=environment, cwd=ROOT, **pipes) for _ in range(2)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        assert child.communicate(timeout=120)[0] == "done\n"
        assert child.returncode == 0
    (path,) = libraries(cached)
    assert find_library(cached, path.stem) == path
    assert not list(cached.glob(".new-*"))


# Programs.


NAMES = [
    'a"b',
    "a*/b",
    "a/*b",
    "a\nb",
    "a\\",
    "a\\\n#error b",
    "a??/b",
    "ελληνικά",
    "a'b",
    "%s%n",
    "a\0b",
    "*/ int x; /*",
    "x" * 500,
]


def test_any_name_of_a_site_can_stand_in_the_text():
    def named():
        for name in NAMES:
            su.sample(name, dist.Normal(torch.zeros((), dtype=D), 1.0))

    density = su.compile(named, engine="native")
    q = np.linspace(-2.0, 2.0, len(NAMES))
    value, gradient = density.value_and_grad(q)
    assert value == pytest.approx(-(q**2).sum() / 2 - len(q) * np.log(2 * np.pi) / 2, rel=1e-13)
    assert gradient.tolist() == (-q).tolist()
    assert density.source.isascii()


def test_an_operator_without_c_sends_the_density_to_torch_and_is_named(monkeypatch):
    monkeypatch.setattr("sursum.compiler.native.lower.OPERATORS", {k: v for k, v in OPERATORS.items() if k != "aten.cosh"})

    def curved():
        z = su.sample("z", dist.Normal(torch.zeros((), dtype=D), 1.0))
        su.factor("f", -z.cosh())

    note = r"no C for aten\.cosh\.default .*\(test_faults\.py:\d+\): the torch engine runs it"
    with pytest.warns(EngineWarning, match=note) as caught:
        density = su.compile(curved)
    assert len(caught) == 1
    assert density.engine == "torch"
    value, gradient = density.value_and_grad(np.array([1.0]))
    assert value == pytest.approx(-0.5 - np.log(2 * np.pi) / 2 - np.cosh(1.0), rel=1e-13)
    assert gradient[0] == pytest.approx(-1.0 - np.sinh(1.0), rel=1e-13)
    with pytest.raises(CompileError, match=note):
        su.compile(curved, engine="native")
    with pytest.raises(CompileError, match="run by the torch engine and has no C"):
        density.source  # noqa: B018


def test_a_wrong_lowering_is_found_and_never_sampled(monkeypatch):
    """A fault of ours is reported as one, and torch runs the density."""
    wrong = {**OPERATORS, "aten.exp": OPERATORS["aten.expm1"]}
    monkeypatch.setattr("sursum.compiler.native.lower.OPERATORS", wrong)
    with pytest.warns(EngineWarning, match="disagrees with the captured graph.*fault of sursum's native engine: please report"):
        density = su.compile(program)
    assert density.engine == "torch"
    check(density)
    with pytest.raises(ProofError, match="log density"):
        su.compile(program, engine="native")


def test_a_failing_guard_is_minus_infinity_on_both_engines():
    """A scale that is negative at some q: Stan rejects there, so do we, and the chain goes on."""

    def risky():
        a = su.sample("a", dist.Normal(torch.ones((), dtype=D), 1.0))
        su.sample("y", dist.Normal(torch.zeros((), dtype=D), a), obs=torch.tensor(0.5, dtype=D))

    for engine in ("native", "torch"):
        density = su.compile(risky, engine=engine)
        assert density.engine == engine
        value, gradient = density.value_and_grad(np.array([-0.5]))
        assert value == -np.inf
        assert gradient.tolist() == [0.0]
        for q in (np.nan, np.inf, -np.inf):
            assert not np.isfinite(density.value_and_grad(np.array([q]))[0])
        value, _ = density.value_and_grad(np.array([0.5]))
        assert value == pytest.approx(-0.125 - 0.5 - np.log(0.5) - np.log(2 * np.pi), rel=1e-13)
    for engine, draws in (("native", 500), ("torch", 100)):
        settings = {"num_warmup": draws // 2, "num_samples": draws, "num_chains": 2, "seed": 1, "progress": False}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            posterior = su.infer.MCMC(su.infer.NUTS(risky), engine=engine, **settings).run()
        assert any(issubclass(w.category, DiagnosticWarning) and "divergence" in str(w.message) for w in caught)
        assert posterior["a"].shape == (2, draws)
        assert float(posterior["a"].min()) > 0
        assert posterior.stats["diverging"].sum() > 0


def test_an_engine_that_there_is_not():
    with pytest.raises(CompileError, match="`engine` is 'fast', but must be 'native', 'torch', 'eager' or None"):
        su.compile(program, engine="fast")


def test_nothing_but_the_c_library_is_included_and_no_array_stands_in_the_text():
    density = su.compile(program, engine="native")
    included = set(re.findall(r"#include <(.*)>", density.source))
    assert included <= {"math.h", "stdbool.h", "stddef.h", "stdint.h"}
    assert "4.0" not in density.source
    # Data and workspace are handed in: the text has no object of its own that a second thread could change.
    assert not re.search(r"^(static )?(double|int64_t|bool|void)\b[^(]*(=|;)", density.source, re.MULTILINE)
