"""Runs every Python block of every page when the site is built, and shows below it what it printed.

A block that fails, or warns, fails the build.
"""

from __future__ import annotations

import contextlib
import tempfile
from typing import Any

from blocks import program, run
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

log = getLogger(__name__)


def execute(app: Sphinx, doctree: nodes.document) -> None:
    """Run the blocks of one page. (Docstrings' examples are doctests, and run with the tests.)"""
    page = app.env.docname
    namespace: dict[str, Any] = {}
    found = [block for block in doctree.findall(nodes.literal_block) if _is_ours(block, doctree)]
    running = program([block.astext() for block in found])
    with tempfile.TemporaryDirectory() as here, contextlib.chdir(here):  # what one block writes the next may read
        for number, block in enumerate(found):
            code = block.astext()
            if code not in running:
                continue
            try:
                printed = run(code, namespace, f"{page}, block {number}")
            except Exception as error:
                log.warning("this block does not run: %s: %s\n%s", type(error).__name__, error, code, location=block)
                continue
            _show(printed, block)


def _show(printed: str, block: nodes.literal_block) -> None:
    """What a block printed, below it."""
    if not printed.strip():
        return
    output = nodes.literal_block(printed, printed.rstrip("\n"), language="text", classes=["output"])
    wrapped = isinstance(block.parent, nodes.container) and "literal-block-wrapper" in block.parent["classes"]
    holder = block.parent if wrapped else block
    holder.parent.insert(holder.parent.index(holder) + 1, output)


def _is_ours(block: nodes.literal_block, doctree: nodes.document) -> bool:
    """Whether a block stands on the page itself, neither included nor in a docstring."""
    source = block.get("source", str(doctree["source"]))
    return block.get("language") == "python" and source.endswith(".md") and "shown" not in block.get("classes", [])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", execute)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
