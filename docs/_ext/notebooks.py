"""Each tutorial as a notebook to download, made when the site is built."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

FOLDER = "tutorials"


def notebook(markdown: str) -> dict[str, Any]:
    """A page as a notebook (nbformat 4.5): its Python blocks are cells, and so is the text between them."""
    parts = re.split(r"^```python\n(.*?)^```[ ]*$\n?", markdown, flags=re.MULTILINE | re.DOTALL)  # text, code, text, …
    cells = []
    for number, part in enumerate(parts):
        code = number % 2 == 1
        source = (part if code else re.sub(r"\[([^]]*)\]\([\w/.-]+\.md(#[\w-]*)?\)", r"\1", part)).strip("\n")
        if source.strip():
            cell = {"cell_type": "code" if code else "markdown", "id": f"cell-{number}", "metadata": {}}
            cell |= {"source": source.splitlines(keepends=True)} | ({"execution_count": None, "outputs": []} if code else {})
            cells.append(cell)
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


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
            (folder / f"{page.stem}.ipynb").write_text(json.dumps(notebook(page.read_text()), indent=1, ensure_ascii=False))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", offer)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
