"""Run models on systems, each in a fresh process, and print one markdown table.

python benchmarks/run.py [--models eight_schools radon] [--systems sursum NumPyro] [--runs 1] [--quick]
"""

from __future__ import annotations

import argparse
import compileall
import datetime
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.models import MODELS  # noqa: E402

#: System → the ways in which it may run; in every column the best of them stands for it.
SYSTEMS = {
    "sursum": [["sursum_side"]],
    "NumPyro": [["numpyro_side", "--method", "parallel"], ["numpyro_side", "--method", "vectorized"]],
    "PyMC + nutpie": [["pymc_side"]],
    "Pyro": [["pyro_side"]],
    "Stan": [["stan_side"]],
    "walnutpie": [["walnutpie_side"]],
}
#: Systems that sample what sursum has compiled: their rows have no time from a program to a posterior, so ours has no rival.
SAMPLERS = ("walnutpie",)
PACKAGES = {
    "sursum": ("torch",),
    "NumPyro": ("numpyro", "jax"),
    "PyMC + nutpie": ("pymc", "numba"),
    "Pyro": ("pyro-ppl",),
    "Stan": ("pystan", "httpstan"),
    "walnutpie": ("walnutpie",),
}
#: Under which name a package is imported, where it is another.
IMPORTS = {"pyro-ppl": "pyro", "pystan": "stan"}
#: Models with a loop in time.
LOOPS = ("volatility", "markov")
#: Draws of models that take some system minutes; the totals are extrapolated in proportion, and marked.
SHORT = {"logistic_large": 50, "gaussian_process": 300, "network": 500}
#: The same for one system: Pyro takes about a millisecond a step, in loops a hundred, where PyMC takes half of one.
SLOW = {("Pyro", model): 5 if model in LOOPS else 50 for model in MODELS} | {("PyMC + nutpie", model): 200 for model in LOOPS}
COLUMNS = {
    "gradient": "gradient µs",
    "leapfrog": "leapfrog µs",
    "draw": "draw µs",
    "compile": "compile s",
    "cold": "cold s",
    "warm": "warm s",
    "sampling": "sampling alone s",
    "around": "around it s",
    "rate": "min ESS/s",
}
MORE_IS_BETTER = {"rate"}
#: Standard errors of the difference between two posterior means: more is a fault somewhere.
LIMIT = 5.0


class Refused(Exception):
    """A system cannot run a model; the last line of what it says."""


def measure(model: str, side: list[str], draws: int | None, toolchain: Path, limit: float) -> dict[str, Any]:
    """The figures of one system on one model, from a process of its own with a cache of its own."""
    command = [sys.executable, "-m", f"benchmarks.{side[0]}", model, *side[1:]]
    if draws is not None:
        command += ["--warmup", str(draws), "--draws", str(draws)]
    with tempfile.TemporaryDirectory() as cache:
        shutil.copytree(toolchain, cache, dirs_exist_ok=True)
        threads = {"OMP_NUM_THREADS": "1"} if side[0] != "numpyro_side" else {}
        path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        settings = os.environ | {"SURSUM_CACHE": cache, "XDG_CACHE_HOME": cache, "PYTHONPATH": path}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=settings | threads, capture_output=True, text=True, check=False, timeout=limit
            )
        except subprocess.TimeoutExpired:
            raise Refused(f"not done after {limit:.0f} s") from None
    if done.returncode:
        raise Refused((done.stderr.strip().splitlines() or ["?"])[-1][:300])
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def installed() -> None:
    """Compile sursum to bytecode, as an installer does: a source tree lacks what the peers in site-packages have."""
    compileall.compile_dir(str(ROOT / "src"), quiet=2)


def known_toolchain(directory: str) -> Path:
    """A cache that knows the C compiler and nothing else: a machine finds that out once."""
    module = "sursum.compiler.native.library.toolchain"
    code = f"import sys; from pathlib import Path; from {module} import detect; detect(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, directory], cwd=ROOT, check=True)
    return Path(directory)


def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians of several runs."""
    numbers = {key: [run[key] for run in runs if run.get(key) is not None] for key in (*COLUMNS, "kernel", "steps")}
    return runs[0] | {key: statistics.median(found) if found else None for key, found in numbers.items()}


def best(ways: list[dict[str, Any]]) -> dict[str, Any]:
    """The best figure of every column; the draws that are compared are those of the way whose warm run is the fastest."""
    found = dict(min(ways, key=lambda row: row["warm"]))
    for key in COLUMNS:
        choose = max if key in MORE_IS_BETTER else min
        found[key] = choose((row[key] for row in ways if row.get(key) is not None), default=None)
    return found


def compare_means(figures: dict[str, dict[str, Any]]) -> tuple[float, str]:
    """The largest difference of two systems' posterior means, in standard errors, and where it is."""
    sides = [(name, row["moments"]) for name, row in figures.items() if row["moments"]]
    worst = (0.0, "nothing to compare")
    for k, (one, left) in enumerate(sides):
        for other, right in sides[k + 1 :]:
            for name in left:
                for a, b, s, t in zip(*left[name][:1], *right[name][:1], left[name][1], right[name][1], strict=True):
                    worst = max(worst, (abs(a - b) / (s**2 + t**2) ** 0.5, f"{name}, {one} and {other}"))
    return worst


def cell(row: dict[str, Any], key: str) -> str:
    """A figure of the table."""
    value = row.get(key)
    if value is None:
        return "–"
    mark = "≈ " if key in ("cold", "warm", "sampling") and row["extrapolated"] else ""
    return f"{mark}{value:.3g}"


def table(model: str, figures: dict[str, dict[str, Any]]) -> None:
    """A model's rows: its systems, and how much better than the best of the others sursum is."""
    for name, row in figures.items():
        kernel = f" (kernel {row['kernel']:.3g})" if row.get("kernel") else ""
        cells = [cell(row, key) + (kernel if key == "gradient" else "") for key in COLUMNS]
        print(f"| {model} | {name} | " + " | ".join(cells) + " |")
    others = [row for name, row in figures.items() if name not in ("sursum", *SAMPLERS)]
    if "sursum" not in figures or not others:
        return
    ratios = []
    for key in COLUMNS:
        theirs = [row[key] for row in others if row.get(key)]
        if not theirs or not figures["sursum"].get(key):
            ratios.append("–")
            continue
        more = key in MORE_IS_BETTER
        ratio = figures["sursum"][key] / max(theirs) if more else min(theirs) / figures["sursum"][key]
        ratios.append(f"**{ratio:.3g}**")
    print(f"| {model} | **times better than the best peer** | " + " | ".join(ratios) + " |", flush=True)


def bounds(model: str, figures: dict[str, dict[str, Any]]) -> list[str]:
    """How many times faster than each peer a run would be that was nothing but leapfrog steps, and how fast it is.

    A peer's microseconds a step times its steps a draw, over ours.
    """
    ours, said = figures.get("sursum"), []
    if ours is None or not ours.get("leapfrog"):
        return []
    for name, row in figures.items():
        if name != "sursum" and row.get("leapfrog"):
            bound = row["leapfrog"] * row["steps"] / (ours["leapfrog"] * ours["steps"])
            column = "sampling" if name in SAMPLERS else "warm"
            reached = row[column] / ours[column]
            said.append(
                f"{model}: by its steps a run may be {bound:.2g} times as fast as {name}'s, and is {reached:.2g} times as fast"
                + (" (sampling alone)" if name in SAMPLERS else "")
            )
    return said


def there(name: str) -> bool:
    """Whether a system is installed."""
    return all(importlib.util.find_spec(IMPORTS.get(package, package)) is not None for package in PACKAGES[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=[name for name in SYSTEMS if there(name)])
    parser.add_argument("--runs", type=int, default=1, help="runs of each system; medians are printed")
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws, extrapolated")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that a process may take")
    options = parser.parse_args()
    packages = [package for name in options.systems for package in PACKAGES[name]]
    print(
        f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in packages)
    )
    print("\n| model | system | " + " | ".join(COLUMNS.values()) + " |\n|" + "---|" * (2 + len(COLUMNS)))
    installed()
    notes = []
    with tempfile.TemporaryDirectory() as directory:
        toolchain = known_toolchain(directory)
        for model in options.models:
            figures: dict[str, dict[str, Any]] = {}
            for name in options.systems:
                draws = SHORT.get(model, 1000) // (10 if options.quick else 1)
                draws = min(draws, SLOW.get((name, model), draws))
                ways = []
                for side in SYSTEMS[name]:
                    try:
                        given = None if draws == 1000 else draws
                        runs = [measure(model, side, given, toolchain, options.limit) for _ in range(options.runs)]
                        ways.append(middle(runs))
                    except Refused as refusal:
                        notes.append(f"{model}: {' '.join([name, *side[2:]])} did not run: {refusal}")
                if ways:
                    figures[name] = best(ways)
            table(model, figures)
            difference, where = compare_means(figures)
            if difference > LIMIT:
                notes.append(f"{model}: POSTERIOR MEANS DIFFER by {difference:.1f} standard errors ({where}): trust no time")
            else:
                notes.append(
                    f"{model}: posterior means agree, the largest difference is {difference:.1f} standard errors ({where})"
                )
            steps = ", ".join(f"{name} {row['steps']:.1f}" for name, row in figures.items())
            notes.append(f"{model}: leapfrog steps a draw: {steps}")
            notes += bounds(model, figures)
    print("\n" + "\n".join(f"- {note}" for note in notes))
    if any("DIFFER" in note for note in notes):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
