"""Variational inference by sursum, NumPyro and Pyro: every model and guide in a fresh process each, one markdown table.

python benchmarks/svi.py [--models eight_schools radon] [--guides AutoNormal] [--without-pyro]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.svi_models import GUIDES, NAMES, STEPS  # noqa: E402

SIDES = {"sursum": "svi_sursum", "NumPyro": "svi_numpyro", "Pyro": "svi_pyro"}
BOTH = ("sursum", "NumPyro")
DIFFERENT = 5.0


def measure(side: str, model: str, guide: str, *more: str) -> dict[str, Any]:
    """The figures of one system, from a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{SIDES[side]}", model, guide, *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def ends(row: dict[str, Any]) -> str:
    """The loss at the end: with its standard error, or from the least to the greatest of several seeds."""
    losses = [one["loss"] for one in row.get("ends", [])]
    if len(losses) == 1:
        return f"{losses[0]:.3f} ± {row['ends'][0]['error']:.3f}"
    return f"{mean(losses):.1f} ({min(losses):.1f} to {max(losses):.1f})" if losses else ""


def apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    """How many standard errors two estimates are apart."""
    return float(abs(one["loss"] - other["loss"]) / (one["error"] ** 2 + other["error"] ** 2) ** 0.5)


def runs_apart(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str:
    """How far the ends of runs are apart, by the errors of two runs, or by the spread of many."""
    if len(ours) == 1:
        return f"{apart(ours[0], theirs[0]):.1f} standard errors apart"
    means = [
        {"loss": mean(losses), "error": stdev(losses) / len(losses) ** 0.5}
        for losses in ([one["loss"] for one in side] for side in (ours, theirs))
    ]
    return f"{apart(*means):.1f} standard errors of {len(ours)} seeds apart"


def compare(model: str, guide: str, sides: Sequence[str]) -> None:
    """The rows of one model and guide."""
    with tempfile.TemporaryDirectory() as directory:
        kept = {side: f"{directory}/{side}.npz" for side in BOTH}
        found = {side: measure(side, model, guide, *(["--keep", kept[side]] if side in BOTH else [])) for side in sides}
        # The same bound? Both estimate it at the parameters at which the one ended, and at those of the other.
        at = {side: {end: measure(side, model, guide, "--at", kept[end]) for end in BOTH} for side in BOTH}
    for side, row in found.items():
        held = " | ".join(f"{at[side][end]['loss']:.3f} ± {at[side][end]['error']:.3f}" if side in BOTH else "" for end in BOTH)
        print(f"| {model} | {guide} | {side} | {row['step']:.3g} | {row['whole']:.3g} | {ends(row)} | {held} |")
    ours, theirs = (found[side] for side in BOTH)
    differences = {end: apart(*(at[side][end] for side in BOTH)) for end in BOTH}
    print(
        f"| {model} | {guide} | **times faster than NumPyro** | **{theirs['step'] / ours['step']:.1f}** | "
        f"**{theirs['whole'] / ours['whole']:.1f}** | {runs_apart(ours['ends'], theirs['ends'])} | "
        + " | ".join(f"{difference:.1f} apart" for difference in differences.values())
        + " |",
        flush=True,
    )
    if max(differences.values()) > DIFFERENT:
        raise SystemExit(f"{model}, {guide}: the two bounds differ at the same parameters. Is it the same model?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--guides", nargs="+", choices=GUIDES, default=list(GUIDES))
    parser.add_argument("--without-pyro", action="store_true", help="where Pyro is not installed")
    options = parser.parse_args()
    sides = [side for side in SIDES if not (options.without_pyro and side == "Pyro")]
    packages = {"sursum": "sursum", "NumPyro": "numpyro", "Pyro": "pyro-ppl"}
    print(", ".join(f"{side} {version(packages[side])}" for side in sides) + f"; {STEPS} steps of Adam, one particle\n")
    print(
        "| model | guide | system | µs a step | model to the last step, s | loss at the end | loss at sursum's end | "
        "loss at NumPyro's end |\n|" + "---|" * 8
    )
    for model in options.models:
        for guide in options.guides:
            compare(model, guide, sides)


if __name__ == "__main__":
    main()
