"""Text tables for a terminal, shown as HTML in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Self


class Table(str):
    """The text of a table, which a notebook shows as HTML; `rows` are its cells, the first row is the header.

    Example:
        >>> found = Table([("site", "type"), ("mu", "sample")])
        >>> found
        site  type
        ────  ──────
        mu    sample
        >>> found._repr_html_().count("<tr>")
        2
    """

    rows: tuple[tuple[str, ...], ...]

    def __new__(cls, rows: Sequence[tuple[str, ...]]) -> Self:
        made = super().__new__(cls, _text(rows))
        made.rows = tuple(rows)
        return made

    def __getnewargs__(self) -> tuple[tuple[tuple[str, ...], ...]]:  # type: ignore[override]
        return (self.rows,)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return self[:]

    def _repr_html_(self) -> str:
        return html_table(self.rows[0], self.rows[1:])


class Shown:
    """What prints as text and has no other view: a notebook shows the text as it is."""

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


class Headed:
    """What is shown as a sentence, `_head`, and `_table` below it."""

    def _head(self) -> str:
        raise NotImplementedError

    def _table(self) -> Table:
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{self._head()}\n\n{self._table()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._head())}</p>{self._table()._repr_html_()}"


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The HTML of a table; cells are escaped."""
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _text(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])
