"""Run every model on every system, each in a fresh process, and print one markdown table.

python benchmarks/run.py [--models eight_schools radon] [--runs 1]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MODELS = ("eight_schools", "radon")
SIDES = {
    "sursum": ["sursum_side"],
    "NumPyro, parallel": ["numpyro_side", "--method", "parallel"],
    "NumPyro, vectorized": ["numpyro_side", "--method", "vectorized"],
}
COLUMNS = {
    "gradient": "gradient µs",
    "leapfrog": "leapfrog µs",
    "draw": "draw µs",
    "compile": "compile s",
    "cold": "cold s",
    "warm": "warm s",
    "rate": "min ESS/s",
}
RATIOS = {"gradient": False, "leapfrog": False, "draw": False, "compile": False, "cold": False, "warm": False, "rate": True}


def measure(model: str, side: list[str]) -> dict[str, Any]:
    """The figures of one system on one model, from a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{side[0]}", model, *side[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    figures["rate"] = figures["ess"] / figures["warm"]
    return figures


def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians of several runs."""
    return runs[0] | {key: statistics.median(run[key] for run in runs) for key in (*COLUMNS, "ess", "steps")}


def compare_means(model: str, figures: dict[str, dict[str, Any]]) -> str:
    """How far the systems' posterior means are apart, in standard errors; too far is an error."""
    sides = list(figures.values())
    worst = 0.0
    for one in sides:
        for other in sides:
            for name, mean in one["means"].items():
                error = (one["errors"][name] ** 2 + other["errors"][name] ** 2) ** 0.5
                worst = max(worst, abs(mean - other["means"][name]) / error)
    if worst > 5.0:
        raise SystemExit(f"{model}: posterior means differ by {worst:.1f} standard errors: no time is worth printing")
    return f"{model}: posterior means agree, the largest difference is {worst:.1f} standard errors."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--runs", type=int, default=1, help="runs of each system; medians are printed")
    options = parser.parse_args()
    head = ["model", "system", *COLUMNS.values()]
    print(
        f"{platform.machine()}, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("sursum", "torch", "nutpie", "numpyro", "jax"))
    )
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    notes = []
    for model in options.models:
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
        for _ in range(options.runs):
            for name, side in SIDES.items():
                runs[name].append(measure(model, side))
        figures = {name: middle(found) for name, found in runs.items()}
        for name, row in figures.items():
            print(f"| {model} | {name} | " + " | ".join(f"{row[key]:.3g}" for key in COLUMNS) + " |")
        ours, peers = figures["sursum"], [row for name, row in figures.items() if name != "sursum"]
        best = {key: (max if more else min)(row[key] for row in peers) for key, more in RATIOS.items()}
        ratios = {key: ours[key] / best[key] if RATIOS[key] else best[key] / ours[key] for key in COLUMNS}
        print(
            f"| {model} | **times better than the best NumPyro** | "
            + " | ".join(f"**{ratios[key]:.3g}**" for key in COLUMNS)
            + " |",
            flush=True,
        )
        notes.append(compare_means(model, figures))
        notes.append(
            f"{model}: the kernel written by hand takes {ours['kernel']:.3g} µs a gradient, sursum's C "
            f"{ours['gradient'] / ours['kernel']:.2f} times that; {ours['steps']:.1f} leapfrog steps a draw against "
            f"{peers[0]['steps']:.1f}."
        )
    print("\n" + "\n".join(notes))


if __name__ == "__main__":
    main()
