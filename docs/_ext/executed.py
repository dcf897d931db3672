"""Runs every Python block of every page when the site is built, and shows below it what it printed.

A block that fails, or warns, fails the build.
"""

from __future__ import annotations

import contextlib
import tempfile
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

from blocks import run, runs

log = getLogger(__name__)


def execute(app: Sphinx, doctree: nodes.document) -> None:
    """Run the blocks of one page. (Docstrings' examples are doctests, and run with the tests.)"""
    page = app.env.docname
    namespace: dict[str, Any] = {}
    for number, block in enumerate(list(doctree.findall(nodes.literal_block))):
        code = block.astext()
        if block.get("language") != "python" or not block.get("source", str(doctree["source"])).endswith(".md"):
            continue
        if "shown" in block.get("classes", []) or not runs(code):
            continue
        try:
            with tempfile.TemporaryDirectory() as here, contextlib.chdir(here):
                printed = run(code, namespace, f"{page}, block {number}")
        except Exception as error:
            log.warning("this block does not run: %s: %s\n%s", type(error).__name__, error, code, location=block)
            continue
        if printed.strip():
            output = nodes.literal_block(printed, printed.rstrip("\n"), language="text", classes=["output"])
            holder = block.parent if isinstance(block.parent, nodes.container) and "literal-block-wrapper" in block.parent["classes"] else block
            holder.parent.insert(holder.parent.index(holder) + 1, output)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", execute)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
