"""The picture of *Which method when*: one posterior, as each method sees it. SVG, in the colours of the page."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from blocks import blocks, program, run

PAGE = Path(__file__).parent.parent / "methods.md"
SHOWN = 150  # draws of each method
GRID = 100  # points along each axis
# Colours as they are drawn, and what stands for them on the page: those of its theme, light or dark.
COLOURS = {"#010101": "currentColor", "#020202": "var(--color-brand-primary)"}
LINES, DRAWS = COLOURS


def methods_picture() -> str:
    """The picture, as HTML in Markdown, of what the page's program finds when it is run."""
    found: dict[str, Any] = {}
    for number, code in enumerate(program(list(blocks(PAGE.read_text())))[:2]):
        run(code, found, f"methods, block {number}")
    half, greatest = np.meshgrid(np.linspace(0.05, 6.0, GRID), np.linspace(0.6, 3.8, GRID))
    model = found["su"].compile(found["lifted"], found["concentration"], found["rate"])
    points = np.log(np.stack([greatest, half], -1)).reshape(-1, 2)  # unconstrained, in the program's order
    height = np.array([model.value_and_grad(q)[0] for q in points]).reshape(half.shape) - np.log(half * greatest)
    draws = {name: pairs(answer) for name, answer in found["found"].items()}
    return f'```{{raw}} html\n<div class="picture">{draw(draws, half, greatest, np.exp(height - height.max()))}</div>\n```'


def pairs(answer: Any) -> np.ndarray:
    """(half, greatest) of some draws, (draw, 2); of one, where the answer is a point."""
    values = np.stack([np.asarray(answer[name], dtype=float).reshape(-1) for name in ("half", "greatest")], -1)
    return values[:: max(1, len(values) // SHOWN)]


def contour_levels(height: np.ndarray, shares: tuple[float, ...]) -> list[float]:
    """The heights above which these shares of the mass lie, for masses on an even grid."""
    falling = np.sort(height.ravel())[::-1]
    return [float(falling[np.searchsorted(falling.cumsum() / falling.sum(), share)]) for share in shares]


def draw(answers: Mapping[str, np.ndarray], half: np.ndarray, greatest: np.ndarray, height: np.ndarray) -> str:
    """A panel for each answer, over the contours that hold 95 % and 50 %."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    parts = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "sursum", "font.size": 10, **dict.fromkeys(parts, LINES)}):
        figure = Figure(figsize=(4.6, 6.0), layout="constrained")
        panels = figure.subplots((len(answers) + 1) // 2, 2, sharex=True, sharey=True, squeeze=False).flat
        for axes, (name, draws) in zip(panels, answers.items(), strict=False):
            axes.contour(half, greatest, height, contour_levels(height, (0.95, 0.5)), colors=LINES, linewidths=0.8)
            axes.plot(*draws.T, "o" if len(draws) > 1 else "X", color=DRAWS, ms=2 if len(draws) > 1 else 9, mew=0)
            axes.set(title=name, xlim=(half.min(), half.max()), ylim=(greatest.min(), greatest.max()))
            axes.patch.set_visible(False)
        figure.supxlabel("half-saturation")
        figure.supylabel("greatest rate")
        figure.patch.set_visible(False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace("<svg ", '<svg role="img" aria-label="What each method says of one posterior" ', 1)
    for drawn, shown in COLOURS.items():
        svg = svg.replace(drawn, shown)
    return "\n".join(line for line in svg.splitlines() if line.strip())
