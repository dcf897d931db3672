"""Each tutorial as a notebook to download, made when the site is built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jupytext
from sphinx.application import Sphinx

FOLDER = "tutorials"


def notebook(markdown: str) -> Any:
    """A page as a notebook (nbformat 4.5), by jupytext: its Python blocks are cells, and so is the text between them."""
    text = re.sub(r"\[([^]]*)\]\([\w/.-]+\.md(#[\w-]*)?\)", r"\1", markdown)  # links between pages lead nowhere there
    made = jupytext.reads(text, fmt="md")
    for number, cell in enumerate(made.cells):
        cell.id, cell.metadata = f"cell-{number}", {}  # not a name drawn by chance
    made.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return made


def offer(app: Sphinx, page: str, text: list[str]) -> None:
    """A link below the title of a tutorial."""
    if page.startswith(f"{FOLDER}/") and app.builder.format == "html":
        title, _, rest = text[0].partition("\n")
        name = page.partition("/")[2]
        link = f'<p><a href="../notebooks/{name}.ipynb" download>This page as a notebook</a></p>'
        text[0] = f"{title}\n\n```{{raw}} html\n{link}\n```\n{rest}"


def write(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        folder = Path(app.outdir) / "notebooks"
        folder.mkdir(exist_ok=True)
        for page in sorted((Path(app.srcdir) / FOLDER).glob("*.md")):
            (folder / f"{page.stem}.ipynb").write_text(jupytext.writes(notebook(page.read_text()), fmt="ipynb"))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", offer)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
