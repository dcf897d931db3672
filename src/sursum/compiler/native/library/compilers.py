"""Which C compiler there is, and how it is called."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from sursum.errors import CompileError

NAMES = ("cc", "gcc", "clang")


def find_compiler() -> tuple[str, ...]:
    """The compiler's command: $CC if that is set, else cc, gcc or clang, else the one that the package ziglang brings.

    The path is absolute, for a compiler runs in a folder of its own, and links are not followed: ccache, distcc and the like
    are called under a compiler's name, and know by it which one is meant.

    Raises:
        CompileError: there is none.
    """
    asked = os.environ.get("CC", "").strip()
    candidates = _commands(asked) if asked else [*((name,) for name in NAMES), *_find_packaged()]
    for command in candidates:
        path = shutil.which(command[0])
        if path:
            return (os.path.abspath(path), *command[1:])
    looked = f"{asked}, which is what CC says" if asked else "cc, gcc, clang and the package ziglang"
    raise CompileError(
        f"no C compiler: looked for {looked}. Install one (Debian, Ubuntu: `apt install gcc`; Fedora: `dnf install gcc`; "
        "macOS: `xcode-select --install`; anywhere: `pip install 'sursum[compiler]'`) or set CC; until then engine='torch' "
        "runs the density, some twenty times slower"
    )


def _commands(asked: str) -> list[tuple[str, ...]]:
    """What CC may mean: the path of a compiler, whatever characters that has, or a command as a shell would read it."""
    try:
        words = tuple(shlex.split(asked))
    except ValueError:
        words = ()  # a quotation mark without its other half
    return [(asked,), words] if words else [(asked,)]


def _find_packaged() -> list[tuple[str, ...]]:
    """Zig's C compiler, where `pip install 'sursum[compiler]'` has brought it."""
    spec = find_spec("ziglang")
    if spec is None or spec.origin is None:
        return []
    return [(str(Path(spec.origin).with_name("zig.exe" if os.name == "nt" else "zig")), "cc")]


def compile_library(command: Sequence[str], options: Sequence[str], source: str) -> bytes:
    """What the compiler makes of a C text with these options.

    Raises:
        CompileError: it could not be started, or failed; its words are in the message.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="sursum-", ignore_cleanup_errors=True) as directory:
            text, library = Path(directory, "density.c"), Path(directory, "density.so")
            text.write_text(source, encoding="ascii")
            compiler = [*command, *(o for o in options if not o.startswith("-l")), str(text), "-o", str(library)]
            compiler += [o for o in options if o.startswith("-l")]
            done = subprocess.run(compiler, capture_output=True, text=True, errors="replace", check=False, cwd=directory)
            if done.returncode or not library.is_file():
                words = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
                shown = "\n".join(words[:20])
                raise CompileError(f"the C compiler {shlex.join(command)} failed; it says:\n{shown}")
            return library.read_bytes()
    except OSError as error:
        raise CompileError(f"the C compiler {shlex.join(command)} could not be run: {error}") from error
