"""The C compiler: which one, with which flags, and what the machine offers it."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sursum.compiler.native.emit.functions import LIBM
from sursum.errors import CompileError

BASE = ("-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-fno-strict-aliasing",
        "-std=gnu11", "-fPIC", "-shared")  # fmt: skip
#: Taken if the compiler knows them. Loads one by one are no slower than AVX2's gather instruction, and gcc keeps what a loop
#: sums up in registers beside them, but not beside a gather.
TUNING = ("-mprefer-vector-width=256", "-mtune-ctrl=^use_gather_2parts,^use_gather_4parts,^use_gather")
#: What makes loops take the widest vectors that there are, instead: long ones gain by it, short ones do not.
WIDE = ("-mprefer-vector-width=256", "-mprefer-vector-width=512")
#: Above so many statements a level costs more than it gives.
LEVELS = ((1500, "-O3"), (4000, "-O2"))


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
        level = next((name for most, name in LEVELS if statements <= most), "-O1")
        change = {"-O3": level} | ({WIDE[0]: WIDE[1]} if self.wide and long_loops else {})
        return tuple(change.get(flag, flag) for flag in self.flags)

    def key(self, source: str, statements: int, *, long_loops: bool = False) -> str:
        """What a library is known by: text, flags, compiler and its version, CPU features, libc."""
        parts = [source, *self.options(statements, long_loops=long_loops), "|", *self.command, self.version, self.machine]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def compile(self, source: str, statements: int, *, long_loops: bool = False, march: str = "native") -> bytes:
        """A shared library made of a C text, for this machine or for that of another `march`.

        Raises:
            CompileError: the compiler failed; its words are in the message.
        """
        flags = self.options(statements, long_loops=long_loops)
        options = (f"-march={march}" if flag == "-march=native" else flag for flag in flags)
        return _compile(self.command, (*options, *self.libraries()), source)

    def libraries(self) -> tuple[str, ...]:
        """What a library is linked with."""
        return ("-lmvec", "-lm") if self.vector else ("-lm",)


def _compile(command: tuple[str, ...], options: tuple[str, ...], source: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="sursum-") as directory:
        text, library = Path(directory, "density.c"), Path(directory, "density.so")
        text.write_text(source, encoding="ascii")
        compiler = [*command, *(o for o in options if not o.startswith("-l")), str(text), "-o", str(library)]
        compiler += [o for o in options if o.startswith("-l")]
        try:
            done = subprocess.run(compiler, capture_output=True, text=True, errors="replace", check=False, cwd=directory)
        except OSError as error:
            raise CompileError(f"the C compiler {command[0]!r} could not be started: {error}") from error
        if done.returncode or not library.exists():
            words = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
            shown = "\n".join(words[:20])
            raise CompileError(f"the C compiler {shlex.join(command)} failed; it says:\n{shown}")
        return library.read_bytes()


def find_compiler() -> tuple[str, ...]:
    """The compiler's command: $CC if that is set, else cc, gcc or clang, whichever is found first.

    Raises:
        CompileError: there is none.
    """
    asked = os.environ.get("CC", "").strip()
    candidates = [shlex.split(asked)] if asked else [["cc"], ["gcc"], ["clang"]]
    for command in candidates:
        path = shutil.which(command[0])
        if path:
            return (os.path.realpath(path) if not asked else path, *command[1:])
    looked = asked or "cc, gcc and clang"
    raise CompileError(
        f"no C compiler: looked for {looked}. Install one (Debian, Ubuntu: `apt install gcc`; Fedora: `dnf install gcc`; "
        "macOS: `xcode-select --install`) or set CC; until then engine='torch' runs the density"
    )


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
        stamp = [*command, here, stat.st_size, stat.st_mtime_ns, stat.st_ino, 3]
    except OSError as error:
        raise CompileError(f"the C compiler {command[0]!r} cannot be read: {error}") from error
    memory = directory / f"toolchain-{hashlib.sha256(json.dumps(stamp).encode()).hexdigest()[:16]}.json" if directory else None
    if memory is not None:
        try:
            known = json.loads(memory.read_text())
            return Toolchain(
                command, known["version"], tuple(known["flags"]), frozenset(known["vector"]), here, bool(known["wide"])
            )
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not known yet, or damaged: found out again
    found = _probe(command, here)
    if memory is not None:
        try:
            handle, name = tempfile.mkstemp(dir=memory.parent)
            with os.fdopen(handle, "w") as file:
                facts = {"version": found.version, "flags": found.flags, "vector": sorted(found.vector), "wide": found.wide}
                json.dump(facts, file)
            os.replace(name, memory)
        except OSError:
            pass  # a memory only: the next process asks again
    return found


EMPTY = "int sursum_probe(void) { return 0; }\n"
LOOP = """
#include <math.h>
__attribute__((simd("notinbranch"))) extern double exp(double);
void sursum_probe(double *x)
{
#pragma omp simd
    for (int i = 0; i < 64; i++)
        x[i] = exp(x[i]);
}
"""


def _probe(command: tuple[str, ...], here: str) -> Toolchain:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, errors="replace", check=False)
        version = (done.stdout or done.stderr).strip().splitlines()[0] if (done.stdout or done.stderr).strip() else ""
    except OSError as error:
        raise CompileError(f"the C compiler {command[0]!r} could not be started: {error}") from error
    flags = list(BASE)
    while True:
        try:
            _compile(command, (*flags, "-lm"), EMPTY)
            break
        except CompileError:
            # Some compilers lack -march=native or -fopenmp-simd: only speed depends on those.
            spare = [f for f in ("-march=native", "-fopenmp-simd", "-fno-trapping-math") if f in flags]
            if not spare:
                raise
            flags.remove(spare[0])
    for extra in (TUNING, *((flag,) for flag in TUNING)):
        try:
            _compile(command, (*flags, *extra, "-Werror", "-lm"), EMPTY)
        except CompileError:
            continue  # not this compiler, or not this processor
        flags[-3:-3] = [flag for flag in extra if flag not in flags]
        if extra is TUNING:
            break
    return Toolchain(command, version, tuple(flags), _vector(command, tuple(flags)), here, WIDE[0] in flags and wide_vectors())


def _vector(command: tuple[str, ...], flags: tuple[str, ...]) -> frozenset[str]:
    """The functions of which libmvec has a form for every vector length that the compiler may choose."""
    try:
        library = ctypes.CDLL("libmvec.so.1")
        code = _compile(command, (*flags, "-Werror", "-lmvec", "-lm"), LOOP)
    except (OSError, CompileError):
        return frozenset()
    if b"_ZGV" not in code:
        return frozenset()
    found = set()
    for name in LIBM:
        v = "vv" if name in ("pow", "atan2", "hypot") else "v"
        forms = [f"_ZGVbN2{v}_{name}", f"_ZGVcN4{v}_{name}", f"_ZGVdN4{v}_{name}", f"_ZGVeN8{v}_{name}"]
        if all(hasattr(library, form) for form in forms):
            found.add(name)
    return frozenset(found)
