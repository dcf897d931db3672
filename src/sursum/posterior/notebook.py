"""A posterior in a notebook: its warnings, its table, and a small trace plot of every quantity, as HTML with inline SVG."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.draws.diagnostics import element_name

MOST_PLOTS = 12
WIDTH, HEIGHT, LEAST_STEP = 220, 48, 1
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")


def page(head: str, warnings: Sequence[str], notes: Sequence[str], table: str, sites: Mapping[str, NDArray[Any]]) -> str:
    """The view: `head` is its title, `table` is HTML, `sites` are draws of (chain, draw, *shape)."""
    said = "".join(f"<li>{html.escape(text)}</li>" for text in warnings)
    box = f'<ul style="border-left:4px solid #d62728;padding-left:1.5em">{said}</ul>' if said else ""
    added = "".join(f"<p>{html.escape(text)}</p>" for text in notes)
    plots, more = _plots(sites)
    rest = f"<p>… and {more} more</p>" if more else ""
    scrolling = f'<div style="overflow-x:auto">{table}</div>'
    return f"<div><p><b>{html.escape(head)}</b></p>{box}{added}{scrolling}<div>{''.join(plots)}</div>{rest}</div>"


def _plots(sites: Mapping[str, NDArray[Any]]) -> tuple[list[str], int]:
    places = [(name, place) for name, draws in sites.items() for place in np.ndindex(draws.shape[2:])]
    shown = places[:MOST_PLOTS]
    plots = [_plot(element_name(name, place), sites[name][(slice(None), slice(None), *place)]) for name, place in shown]
    return plots, len(places) - len(shown)


def _plot(name: str, draws: NDArray[Any]) -> str:
    """The trace plot of one quantity, (chain, draw): one line per chain over the draw number.

    Example:
        >>> import numpy as np
        >>> text = _plot("mu", np.random.default_rng(0).normal(size=(2, 500)))
        >>> text.count("<polyline"), "mu" in text
        (2, True)
    """
    label = html.escape(name)
    values = np.asarray(draws, dtype=np.float64)
    finite = np.isfinite(values)
    lines = []
    if values.shape[1] > 1 and finite.any():
        low, high = float(values[finite].min()), float(values[finite].max())
        spread = high - low or 1.0
        # At most one point per visible position: every k-th draw, since extremes would hide the bulk.
        step = max(LEAST_STEP, values.shape[1] // (2 * WIDTH))
        x = np.arange(0, values.shape[1], step) * (WIDTH / max(values.shape[1] - 1, 1))
        for k, chain in enumerate(values):
            y = HEIGHT - 2 - (chain[::step] - low) / spread * (HEIGHT - 4)
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True) if np.isfinite(b))
            colour = COLOURS[k % len(COLOURS)]
            lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="0.6" stroke-opacity="0.7" points="{points}"/>')
        scale = f"{low:.3g} … {high:.3g}"
    else:
        scale = "no draws" if not values.size else "not finite or a single draw"
    return (
        f'<figure style="display:inline-block;margin:4px"><figcaption style="font-size:80%">{label} '
        f'<span style="opacity:0.6">{scale}</span></figcaption>'
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="draws of {label}">'
        f"{''.join(lines)}</svg></figure>"
    )
