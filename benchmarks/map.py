"""The mode of radon by sursum's `Fit` and by PyMC's `find_MAP`, each in a fresh process: program to mode, one markdown table.

python benchmarks/map.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

# The same sites in both systems; sursum's program names them by what they are priors of.
SITES = ("mu_a", "mu_b", "sigma_a", "sigma_b", "sigma")
WARM = 3


def sursum() -> Any:
    """From the program to the mode."""
    import torch

    import sursum as su
    from benchmarks import sursum_models

    torch.set_default_dtype(torch.float64)
    program, data = sursum_models.load("radon")

    def mode() -> Any:
        fit = su.infer.Fit(program).run(*data)
        return {name: float(fit[name]) for name in SITES}, fit.log_density

    return mode


def pymc() -> Any:
    """From the program to the mode, with PyTensor's default compiler."""
    import pymc as pm

    from benchmarks import models, pymc_models

    data = list(models.MODELS["radon"].data().values())

    def mode() -> Any:
        with pm.Model() as model:
            pymc_models.PROGRAMS["radon"](*data)
            found = pm.find_MAP(progressbar=False)
        point = {name: value for name, value in found.items() if name in {v.name for v in model.value_vars}}
        return {name: float(found[name]) for name in SITES}, float(model.compile_logp(jacobian=False)(point))

    return mode


SYSTEMS = {"sursum": sursum, "PyMC": pymc}


def side(system: str) -> None:
    """One system in this process, figures as JSON: a first mode, compiler and all, then others."""
    warnings.simplefilter("ignore")
    mode = SYSTEMS[system]()
    times = []
    for _ in range(1 + WARM):
        start = time.perf_counter()
        found, log_density = mode()
        times.append(time.perf_counter() - start)
    print(json.dumps({"first": times[0], "warm": min(times[1:]), "mode": found, "log_density": log_density}))


def measure(system: str) -> dict[str, Any]:
    """The figures of one system, from a process of its own that finds nothing compiled."""
    with tempfile.TemporaryDirectory() as cache:
        flags = f"{os.environ.get('PYTENSOR_FLAGS', '')},base_compiledir={cache}/pytensor".strip(",")
        env = {**os.environ, "SURSUM_CACHE": f"{cache}/sursum", "PYTENSOR_FLAGS": flags}
        command = [sys.executable, __file__, "--side", system]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=SYSTEMS, help="measure one system in this process")
    options = parser.parse_args()
    if options.side:
        side(options.side)
        return
    found = {system: measure(system) for system in SYSTEMS}
    ours, theirs = found["sursum"], found["PyMC"]
    print(f"sursum {version('sursum')}, PyMC {version('pymc')}, PyTensor {version('pytensor')}\n")
    print("| system | first mode, s | warm, s | log density | " + " | ".join(SITES) + " |\n|" + "---|" * (4 + len(SITES)))
    for system, row in found.items():
        mode = " | ".join(f"{row['mode'][name]:.5f}" for name in SITES)
        print(f"| {system} | {row['first']:.3g} | {row['warm']:.3g} | {row['log_density']:.4f} | {mode} |")
    ratios = " | ".join(f"**{theirs[key] / ours[key]:.1f}**" for key in ("first", "warm"))
    apart = max(abs(np.subtract(*(row["mode"][name] for row in found.values()))) for name in SITES)
    print(f"| **times faster** | {ratios} | largest difference of a mode {apart:.2g} |" + " |" * len(SITES))


if __name__ == "__main__":
    main()
