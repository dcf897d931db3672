"""What the examples share: their options, and pictures."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def options(doc: str | None) -> argparse.Namespace:
    """`--draws` per chain, as many of warm-up, and `--out`, the folder of the picture."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="draws per chain, and as many of warm-up")
    parser.add_argument("--out", type=Path, default=Path("out"), help="where the picture goes")
    return parser.parse_args()


@contextmanager
def picture(path: Path, panels: int = 1, size: tuple[float, float] = (9.0, 5.0)) -> Iterator[Any]:
    """Axes to draw on, a list of them where there are several panels; written to `path` in the end."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, panels, figsize=size, layout="constrained")
    yield axes
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    print(f"\nPicture: {path}")
