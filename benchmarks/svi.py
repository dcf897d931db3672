"""Variational inference by sursum, NumPyro and Pyro: every model and guide in a fresh process each, one markdown table.

python benchmarks/svi.py [--models eight_schools radon] [--guides AutoNormal] [--without-pyro]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.svi_models import GUIDES, NAMES, STEPS  # noqa: E402

SIDES = {"sursum": "svi_sursum", "NumPyro": "svi_numpyro", "Pyro": "svi_pyro"}


def measure(side: str, model: str, guide: str) -> dict[str, Any]:
    """The figures of one system, from a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{SIDES[side]}", model, guide]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--guides", nargs="+", choices=GUIDES, default=list(GUIDES))
    parser.add_argument("--without-pyro", action="store_true", help="where Pyro is not installed")
    options = parser.parse_args()
    sides = [side for side in SIDES if not (options.without_pyro and side == "Pyro")]
    packages = {"sursum": "sursum", "NumPyro": "numpyro", "Pyro": "pyro-ppl"}
    print(", ".join(f"{side} {version(packages[side])}" for side in sides) + f"; {STEPS} steps of Adam, one particle\n")
    print("| model | guide | system | µs a step | model to the last step, s | loss at the end |\n|" + "---|" * 6)
    for model in options.models:
        for guide in options.guides:
            found = {side: measure(side, model, guide) for side in sides}
            for side, row in found.items():
                loss = f"{row['loss']:.3f} ± {row['error']:.3f}" if row["error"] < float("inf") else "–"
                print(f"| {model} | {guide} | {side} | {row['step']:.3g} | {row['whole']:.3g} | {loss} |")
            ours, theirs = found["sursum"], found["NumPyro"]
            apart = abs(ours["loss"] - theirs["loss"]) / (ours["error"] ** 2 + theirs["error"] ** 2) ** 0.5
            print(
                f"| {model} | {guide} | **times faster than NumPyro** | **{theirs['step'] / ours['step']:.1f}** | "
                f"**{theirs['whole'] / ours['whole']:.1f}** | {apart:.1f} standard errors apart |",
                flush=True,
            )


if __name__ == "__main__":
    main()
