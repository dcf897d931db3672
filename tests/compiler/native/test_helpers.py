"""C functions of ours: each file compiles after those that it names, and is used by somebody."""

from __future__ import annotations

import re
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

import sursum
from sursum.compiler.native.emit.program import INCLUDES
from sursum.compiler.native.helpers import helpers, read_helper
from sursum.compiler.native.library.compilers import find_compiler
from sursum.compiler.native.ops import OPS

FOLDER = Path(str(files("sursum.compiler.native").joinpath("c")))
NAMES = sorted(path.stem for path in FOLDER.glob("*.c"))
#: Asked for by the emitter itself.
EMITTED = {"scale", "lanes", "extremes", "integer"}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_compiles_after_what_it_needs(name: str, tmp_path: Path) -> None:
    source = tmp_path / f"{name}.c"
    source.write_text("\n".join([*INCLUDES, *helpers([name])]) + "\n")
    flags = ["-fsyntax-only", "-fopenmp-simd", "-Wall", "-Wno-unused-function", "-Wno-unknown-pragmas", "-Wno-psabi", "-Werror"]
    found = subprocess.run([*find_compiler(), *flags, str(source)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_a_file_needs_only_what_it_uses() -> None:
    for name in NAMES:
        found = read_helper(name)
        assert found is not None
        needs, text = found
        assert all(f"su_{need}(" in text for need in needs), name
        assert f"su_{name}" in text or name in EMITTED


def test_every_file_is_used() -> None:
    package = Path(sursum.__file__).parent / "compiler" / "native"
    called = {name for path in package.rglob("*.py") for name in re.findall(r"\bsu_(\w+)", path.read_text(encoding="utf-8"))}
    needed = {need for name in NAMES for need in (read_helper(name) or ((), ""))[0]}
    own = {op.name for op in OPS.values() if op.form == "own"}
    assert set(NAMES) - called - needed - own - EMITTED == set()


def test_what_is_needed_stands_before_and_once() -> None:
    texts = helpers(["weigh", "correlate"])
    order = [re.findall(r"^static \w+ su_(\w+)\(", text, re.MULTILINE) for text in texts]
    assert order == [["gemm"], ["unfold"], ["weigh"], ["correlate"]]
