"""Pyro's programs under Pyro and under `sursum.compat.pyro`, unchanged but for the import, in turn.

python benchmarks/porting.py [--pyro PYTHON] [--rounds N] [ports]. PYTHON is an interpreter that has pyro-ppl, this one if left
out. A step of SVI is the median of blocks after the first 64 steps; NUTS is its whole run. Times are of CPU, one thread.
"First s" are from the start of the process to the end of the first 64 steps, where nothing of the program has been compiled
before, and "again s" those of the same once more. Both sides have their bytecode.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.ports import PORTS  # noqa: E402


def run(python: str, root: str, port: str) -> dict[str, float]:
    """The figures of one side: of a second process that runs the same, and how long both took to begin."""
    command = [python, "-m", "benchmarks.ports", root, port]
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "SURSUM_CACHE": cache}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        subprocess.run([python, "-c", f"import {root}"], cwd=ROOT, env=env, check=True)  # writes bytecode, if there is none
        figures: list[dict[str, float]] = []
        for _ in range(2):
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=env)
            if done.returncode:
                raise SystemExit(f"{port} under {root} failed:\n{done.stderr[-2000:]}")
            figures.append(json.loads(done.stdout.splitlines()[-1]))
    first, again = figures
    cold = {"first s": first["cold s"], "again s": again.pop("cold s")} if "cold s" in first else {}
    return {**cold, **again}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ports", nargs="*", default=list(PORTS), help=f"of {', '.join(PORTS)}; all by default")
    parser.add_argument("--pyro", default=sys.executable, help="an interpreter with pyro-ppl")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs")
    asked = parser.parse_args()
    sides = (asked.pyro, "pyro"), (sys.executable, "sursum.compat.pyro")
    print("| program | figure | Pyro | sursum.compat.pyro | times as fast |\n|---|---|---|---|---|", flush=True)
    for port in asked.ports:
        found = [[run(python, root, port) for python, root in sides] for _ in range(asked.rounds)]
        for figure in found[0][0]:
            pyro, ours = (statistics.median(pair[side][figure] for pair in found) for side in (0, 1))
            ratio = "" if figure == "loss" else f"{pyro / ours:.1f}"
            print(f"| {port} | {figure} | {pyro:.3g} | {ours:.3g} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
