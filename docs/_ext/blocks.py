"""The Python of a page: its blocks run in order, in one namespace, as a reader would type them."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any


def program(page: list[str]) -> list[str]:
    """Which of a page's blocks run: none where the first does not import sursum, else all but fragments, which are indented."""
    if not page or "sursum" not in page[0]:
        return []
    return [code for code in page if not code.startswith((" ", "\t"))]


def run(code: str, namespace: dict[str, Any], name: str) -> str:
    """What a block prints. Warnings are errors, so that no page teaches what would warn."""
    printed = io.StringIO()
    namespace["__name__"] = "__main__"  # a module that there is: dataclasses look for theirs
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=r"\s*ArviZ is undergoing a major refactor", category=FutureWarning)
        # GPyTorch's linear algebra announces it when it is imported.
        warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=DeprecationWarning)
        exec(compile(code, name, "exec"), namespace)
    return printed.getvalue()


def blocks(markdown: str) -> Iterator[str]:
    """The Python blocks of a page, in order."""
    code: list[str] | None = None
    for line in markdown.splitlines():
        if code is None and line.rstrip() == "```python":
            code = []
        elif code is not None and line.rstrip() == "```":
            yield "\n".join(code)
            code = None
        elif code is not None:
            code.append(line)
