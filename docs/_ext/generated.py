"""Parts of pages that are made from the library itself: a directive `{generated} name`, a function each."""

from __future__ import annotations

import re

from docutils import nodes
from picture import methods_picture
from sections import FUNCTIONS, ROOT
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

PARTS = {**FUNCTIONS, "methods_picture": methods_picture}


class Generated(SphinxDirective):
    """The Markdown that the function of this name gives."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(PARTS[self.arguments[0]](), allow_section_headings=True)


class Details(SphinxDirective):
    """Code that opens at a click."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        opening = nodes.raw("", f"<details><summary>{self.arguments[0]}</summary>", format="html")
        return [opening, *self.parse_content_to_nodes(), nodes.raw("", "</details>", format="html")]


def contents(app: Sphinx, page: str, text: list[str]) -> None:
    """The contents name pages in their order, and `*` stands for those that are not named; what is not there is left out."""
    if page == app.config.root_doc:
        there = {path.stem for path in (ROOT / "docs").glob("*.md")} - {page}
        lines = text[0].splitlines()
        named = {line for line in lines if re.fullmatch(r"[a-z]+", line)}
        kept = [line for line in lines if line not in named or line in there]
        kept[kept.index("*") : kept.index("*") + 1] = sorted(there - named)
        text[0] = "\n".join(kept)


def readable(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Shapes such as (chain, draw, *shape) are not emphasis."""
    for k, line in enumerate(lines):
        parts = re.split(r"(`+[^`]*`+)", line)  # code stays as it is
        parts[::2] = [re.sub(r"(?<![\w*\\])\*(?=[a-z])(?![^*]*[\w.]\*)", r"\\*", part) for part in parts[::2]]
        lines[k] = "".join(parts)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", readable)
    app.connect("source-read", contents)
    app.add_directive("generated", Generated)
    app.add_directive("dropdown-code", Details)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
