"""The C compiler: which one, with which flags, and what the machine offers it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sursum.compiler.native.library.cache import read_file, seal, write_file
from sursum.compiler.native.library.compilers import compile_library, find_compiler
from sursum.compiler.native.library.libmvec import vector_functions
from sursum.compiler.native.machine import OPTIMISATION_LEVELS
from sursum.errors import CompileError

BASE = ("-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-fno-strict-aliasing",
        "-std=gnu11", "-fPIC", "-shared")  # fmt: skip
#: Taken if the compiler knows them. Loads one by one are no slower than AVX2's gather instruction, and gcc keeps what a loop
#: sums up in registers beside them, but not beside a gather. gcc 12 trusts bits of addresses that its loop optimiser made up:
#: a loop over rows that start at an even number of doubles, and not at a multiple of four, then never ends.
TUNING = ("-mprefer-vector-width=256", "-fno-tree-bit-ccp",
          "-mtune-ctrl=^use_gather_2parts,^use_gather_4parts,^use_gather")  # fmt: skip
#: What makes loops take the widest vectors that there are, instead: long ones gain by it, short ones do not.
WIDE = ("-mprefer-vector-width=256", "-mprefer-vector-width=512")


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A compiler that works here: its command, its version, its flags, the functions that libmvec has, the machine, and
    whether vectors of 512 bits are worth their while on it."""

    command: tuple[str, ...]
    version: str
    flags: tuple[str, ...]
    vector: frozenset[str]
    machine: str
    wide: bool = False

    def options(self, statements: int, *, long_loops: bool = False) -> tuple[str, ...]:
        """The flags for a program of this many statements, whose time goes into long loops or not."""
        level = next((name for most, name in OPTIMISATION_LEVELS if statements <= most), "-O1")
        change = {"-O3": level} | ({WIDE[0]: WIDE[1]} if self.wide and long_loops else {})
        return tuple(change.get(flag, flag) for flag in self.flags)

    def key(self, source: str, statements: int, *, long_loops: bool = False) -> str:
        """What a library is known by: text without its comments, flags, compiler and its version, CPU features, libc."""
        parts = [
            without_comments(source),
            *self.options(statements, long_loops=long_loops),
            "|",
            *self.command,
            self.version,
            self.machine,
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def compile(self, source: str, statements: int, *, long_loops: bool = False, march: str = "native") -> bytes:
        """A shared library made of a C text, for this machine or for that of another `march`.

        Raises:
            CompileError: the compiler failed; its words are in the message.
        """
        flags = self.options(statements, long_loops=long_loops)
        options = (f"-march={march}" if flag == "-march=native" else flag for flag in flags)
        return compile_library(self.command, (*options, *self.libraries()), source)

    def libraries(self) -> tuple[str, ...]:
        """What a library is linked with."""
        return ("-lmvec", "-lm") if self.vector else ("-lm",)


_COMMENT = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""", re.DOTALL)


def without_comments(source: str) -> str:
    """A C text as the compiler understands it. Comments name sites and lines: a program whose lines have moved is compiled to
    the same code.

    Example:
        >>> without_comments('int x = 1; /* site "z", model.py:7 */\\n\\nchar *y = "/* */"; // why')
        'int x = 1;\\nchar *y = "/* */";'
    """
    bare = _COMMENT.sub(lambda found: found[0] if found[0][0] in "\"'" else " ", source)
    return "\n".join(line.rstrip() for line in bare.splitlines() if line.strip())


def wide_vectors() -> bool:
    """Whether the processor computes with 512 bits as readily as with 256: Intel's from Sapphire Rapids on (which are the
    first to have half precision), and AMD's. Older ones of Intel run slower as a whole while they do.

    Example:
        >>> isinstance(wide_vectors(), bool)
        True
    """
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return False
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    return "avx512_fp16" in flags or ("avx512f" in flags and "AuthenticAMD" in text)


def machine() -> str:
    """The processor's features and the C library, on which compiled code depends.

    Example:
        >>> machine() == machine()
        True
    """
    features = ""
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith(("flags", "Features", "model name")):
                features += line
                if not line.startswith("model name"):
                    break
    except OSError:
        features = platform.processor()
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        libc = platform.platform()
    return f"{platform.machine()} {libc} {hashlib.sha256(features.encode()).hexdigest()[:16]}"


def detect(directory: Path | None) -> Toolchain:
    """The toolchain of this machine. What was found out is remembered in `directory`, if there is one.

    Raises:
        CompileError: no compiler, or one that does not compile an empty program.
    """
    command, here = find_compiler(), machine()
    try:
        stat = os.stat(command[0])
        file = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        stamp = [*command, here, *file, 5]
    except OSError as error:
        raise CompileError(f"the C compiler {command[0]!r} cannot be read: {error}") from error
    known = json.dumps(stamp)
    memory = directory / f"toolchain-{hashlib.sha256(known.encode()).hexdigest()[:16]}.json" if directory else None
    if memory is not None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # not known yet, or damaged: found out again
            return _recall(json.loads(read_file(memory)), known, command, here)
    found = _probe(command, here, file)
    if memory is not None:
        facts = {"version": found.version, "flags": found.flags, "vector": sorted(found.vector), "wide": found.wide}
        said = json.dumps(facts)
        with contextlib.suppress(OSError):  # a memory only: the next process asks again
            write_file(memory, json.dumps({"facts": said, "seal": seal(known, said.encode())}).encode())
    return found


def _recall(memory: Any, known: str, command: tuple[str, ...], here: str) -> Toolchain:
    """The toolchain that was written down.

    Raises:
        ValueError: it is not as it was written.
    """
    if memory["seal"] != seal(known, memory["facts"].encode()):
        raise ValueError("damaged")
    facts = json.loads(memory["facts"])
    return Toolchain(command, facts["version"], tuple(facts["flags"]), frozenset(facts["vector"]), here, facts["wide"])


EMPTY = "int sursum_probe(void) { return 0; }\n"


@lru_cache(maxsize=8)
def _probe(command: tuple[str, ...], here: str, file: tuple[int, ...]) -> Toolchain:
    """What a compiler says and can do, found out once in a process; `file` tells whether it is still the same program."""
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, errors="replace", check=False)
        version = (done.stdout or done.stderr).strip().splitlines()[0] if (done.stdout or done.stderr).strip() else ""
    except OSError as error:
        raise CompileError(f"the C compiler {command[0]!r} could not be started: {error}") from error
    flags = list(BASE)
    while True:
        try:
            compile_library(command, (*flags, "-lm"), EMPTY)
            break
        except CompileError:
            # Some compilers lack -march=native or -fopenmp-simd: only speed depends on those.
            spare = [f for f in ("-march=native", "-fopenmp-simd", "-fno-trapping-math") if f in flags]
            if not spare:
                raise
            flags.remove(spare[0])
    for extra in (TUNING, *((flag,) for flag in TUNING)):
        try:
            compile_library(command, (*flags, *extra, "-Werror", "-lm"), EMPTY)
        except CompileError:
            continue  # not this compiler, or not this processor
        flags[-3:-3] = [flag for flag in extra if flag not in flags]
        if extra is TUNING:
            break
    return Toolchain(
        command, version, tuple(flags), vector_functions(command, tuple(flags)), here, WIDE[0] in flags and wide_vectors()
    )
