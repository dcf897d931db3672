"""Stan on the programs of `discrete.py`, the sums by hand, and on one of `odes.py`: microseconds of a leapfrog step.

    python -m benchmarks.stan_gradients --write FILE             # the data, by an interpreter that has sursum
    python benchmarks/stan_gradients.py --read FILE [name ...]   # by one that has PyStan 3

PyStan has no call of a gradient but by its server. The slope of the wall time over the leapfrog steps between a short and a
long run of NUTS is taken instead, the least of three; a step's own bookkeeping is about a microsecond.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parent / "stan_sums"
#: Draws of the short and of the long run.
DRAWS = {
    "mixture": (5, 60),
    "hidden_markov": (3, 20),
    "factorial": (5, 60),
    "capture_recapture": (20, 1000),
    "lotka_volterra": (10, 300),
}


def write(path: Path) -> None:
    from benchmarks import discrete, odes

    found: dict[str, dict[str, Any]] = {}
    for name, (_, _, y) in discrete.rows(quick=False).items():
        sizes = {"K": discrete.K, "S": discrete.STATES, "P": discrete.PARTS, "N": y.shape[-1], "T": len(y)}
        found[name] = {**sizes, "y": (y.long() if name == "capture_recapture" else y).tolist()}
    years = len(odes.PELTS) - 1
    found["lotka_volterra"] = {"N": years, "times": list(range(1, years + 1)), "pelts": odes.PELTS.tolist()}
    path.write_text(json.dumps(found))


def microseconds(name: str, data: dict[str, Any]) -> tuple[float, float]:
    """Of a leapfrog step; and the seconds of Stan's compiler."""
    import stan

    def run(seed: int, draws: int) -> tuple[float, float]:
        model = stan.build(program, data=data, random_seed=seed)  # PyStan gives equal draws to equal seeds without drawing
        began = time.perf_counter()
        fit = model.sample(num_chains=1, num_warmup=50, num_samples=draws, delta=0.95, max_depth=5)
        return time.perf_counter() - began, float(fit["n_leapfrog__"].sum())

    program = (PROGRAMS / f"{name}.stan").read_text()
    began = time.perf_counter()
    stan.build(program, data=data, random_seed=1)
    compiled = time.perf_counter() - began
    slopes = []
    for seed in (1, 2, 3):
        (short, few), (long, many) = (run(seed, draws) for draws in DRAWS[name])
        slopes.append(1e6 * (long - short) / (many - few))
    return min(slope for slope in slopes if slope > 0.0), compiled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(DRAWS))
    parser.add_argument("--write", type=Path)
    parser.add_argument("--read", type=Path)
    given = parser.parse_args()
    if given.write:
        write(given.write)
        return
    found = json.loads(given.read.read_text())
    for name in given.names:
        us, seconds = microseconds(name, found[name])
        print(f"| {name} | {us:.1f} µs | compiled in {seconds:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
