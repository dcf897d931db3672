"""Formulas as MathML, made when the site is built: no script, nothing from elsewhere, and read aloud by screen readers."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

log = getLogger(__name__)


def formula(latex: str, display: str = "inline") -> str:
    """MathML of a formula; a warning names a command that the converter does not know and has left as it is."""
    made = convert(latex, display=display)
    if unknown := re.search(r">(\\[a-zA-Z]+)", made):
        log.warning("the formula %s has a command that does not become MathML: %s", latex, unknown[1])
    return str(made)


def inline(self: Any, node: nodes.Element) -> None:
    self.body.append(formula(node.astext()))
    raise nodes.SkipNode


def displayed(self: Any, node: nodes.Element) -> None:
    text = node.astext().strip()
    rows = f"\\begin{{aligned}}{text}\\end{{aligned}}" if "\\\\" in text and "\\begin" not in text else text
    self.body.append(f'<div class="formula">{formula(rows, "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (displayed, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
