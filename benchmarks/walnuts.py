"""sursum's WALNUTS beside that of walnutpie, and NUTS: smallest bulk ESS for each gradient, on the same compiled densities.

    pip install walnutpie==0.0.3
    python -m benchmarks.walnuts --seeds 3 --save walnuts.jsonl [funnel radon …]
    python -m benchmarks.walnuts --table walnuts.jsonl

Four chains of 1,000 + 1,000 from the same starts, with the settings that each has by default; gradients are those after the
warm-up. walnutpie calls a C function that counts, and calls the density.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sursum as su
import sursum.distributions as dist
from benchmarks import samplers
from benchmarks.models import Array
from sursum.draws.ess_rhat import mixing
from sursum.mcmc.kernel.adaptation import Adaptation
from sursum.mcmc.kernel.native import NativeKernel
from sursum.mcmc.kernel.state import State, Transition
from sursum.mcmc.kernel_chain import KernelChain, advancing
from sursum.mcmc.seeds import chain_seed
from sursum.mcmc.start import find_start

TARGETS = ("eight_schools", "radon", "correlated", "poisson", "volatility", "funnel")
LENGTH = 1000

COUNTER = """
#include <stdint.h>
#include <stddef.h>
typedef int64_t density(size_t, const double *, double *, double *, void *);
struct counted { density *f; void *user_data; int64_t calls; };
int counted(size_t n, double *q, double *gradient, double *value, void *user_data)
{
    struct counted *c = user_data;
    c->calls++;
    return c->f(n, q, gradient, value, c->user_data) != 0;
}
"""


class Counted(ctypes.Structure):
    """What `counted` of `COUNTER` is given."""

    _fields_ = (("f", ctypes.c_void_p), ("user_data", ctypes.c_void_p), ("calls", ctypes.c_int64))


def compiled(name: str) -> Any:
    """The target's log density, in C."""
    if name != "funnel":
        return samplers.compiled(name)

    def funnel() -> None:
        v = su.sample("v", dist.Normal(0.0, 3.0))
        su.sample("x", dist.Normal(torch.zeros(9), (0.5 * v).exp()).to_event(1))

    return su.compile(funnel, engine="native")


def counter() -> ctypes.CDLL:
    """`COUNTER`, compiled."""
    folder = Path(tempfile.mkdtemp())
    (folder / "counter.c").write_text(COUNTER)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", str(folder / "counter.c"), "-o", str(folder / "counter.so")], check=True)
    return ctypes.CDLL(str(folder / "counter.so"))


def theirs(density: Any, starts: list[Array], seeds: list[int], library: ctypes.CDLL) -> tuple[Array, int]:
    """Draws (chain, draw, n), and the gradients that they took."""
    import walnutpie  # type: ignore[import-not-found]
    from walnutpie._ffi import logp_cfunc_type  # type: ignore[import-not-found]

    function, found, gradients = logp_cfunc_type(("counted", library)), [], 0
    for start, seed in zip(starts, seeds, strict=True):
        counts = []
        for draws in (LENGTH, 1):  # the same chain, cut short, has the warm-up's gradients
            instance = density.instance()
            state = Counted(density.address, instance.pointer, 0)
            lengths = {
                "min_warmup_iter": LENGTH, "max_warmup_iter": LENGTH, "min_sampling_iter": draws, "max_sampling_iter": draws,
            }  # fmt: skip
            (chain,) = walnutpie.walnuts_pyfunc(
                (function, ctypes.addressof(state)), inits=start[None], num_chains=1, seed=seed % 2**31, **lengths
            )
            counts.append(state.calls)
            if draws == LENGTH:
                found.append(np.array(chain))
        gradients += counts[0] - counts[1]
    return np.stack(found), gradients


def ours(density: Any, starts: list[Array], seeds: list[int], **fields: float) -> tuple[Array, int]:
    """As `theirs`."""
    kernel, found, gradients = NativeKernel.open(), [], 0
    for start, seed in zip(starts, seeds, strict=True):
        value, gradient = density.value_and_grad(start)
        state = State.create(start, value, gradient, key=seed, num_warmup=LENGTH, **fields)
        chain = KernelChain(advancing(density, kernel), state, Adaptation("auto", LENGTH), 2 * LENGTH).start()
        chain.end()
        trace = chain.trace()
        found.append(trace.unconstrained[LENGTH:])
        gradients += int(trace.stats["n_steps"][LENGTH:].sum())
    return np.stack(found), gradients


def row(name: str, density: Any, seed: int, library: ctypes.CDLL) -> dict[str, Any]:
    chains = [chain_seed(seed, k) for k in range(4)]
    starts = [find_start(density.density, density.value_and_grad, chain.start) for chain in chains]
    seeds = [chain.sampler for chain in chains]
    made = {
        "walnutpie": theirs(density, starts, seeds, library),
        "walnuts": ours(density, starts, seeds, kernel=Transition.WALNUTS),
        "nuts": ours(density, starts, seeds, kernel=Transition.NUTS),
    }
    figures = {}
    for label, (q, gradients) in made.items():
        found = mixing(q)
        figures[label] = {"ess": float(found.ess_bulk.min()), "r_hat": float(found.r_hat.max()), "gradients": gradients}
    return {"target": name, "seed": seed, **figures}


def table(rows: list[dict[str, Any]]) -> str:
    """Means over the seeds, as a markdown table."""
    lines = [
        "| target | seeds | walnutpie: ESS | gradients a draw | R-hat | WALNUTS: ESS | gradients a draw | R-hat "
        "| ESS/gradient, ours over theirs | over our NUTS |",
        "| --- |" + " ---: |" * 9,
    ]
    for name in TARGETS:
        runs = [one for one in rows if one["target"] == name]
        if not runs:
            continue
        cells = [name, str(len(runs))]
        for label in ("walnutpie", "walnuts"):
            cells.append(f"{np.exp(np.mean([np.log(one[label]['ess']) for one in runs])):.0f}")
            cells.append(f"{np.mean([one[label]['gradients'] for one in runs]) / (4 * LENGTH):.1f}")
            cells.append(f"{max(one[label]['r_hat'] for one in runs):.3f}")
        for label in ("walnutpie", "nuts"):
            rates = [_rate(one["walnuts"]) / _rate(one[label]) for one in runs]
            error = np.std(np.log(rates), ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else np.nan
            mean = np.exp(np.mean(np.log(rates)))
            cells.append(f"{mean:.2f} ± {mean * error:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _rate(figures: dict[str, float]) -> float:
    return figures["ess"] / figures["gradients"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.walnuts", description=__doc__)
    parser.add_argument("names", nargs="*", help="targets; all without any")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--save", type=Path, help="a file to which each row is added, as a line of JSON")
    parser.add_argument("--table", type=Path, help="such a file, whose rows are shown")
    options = parser.parse_args()
    if options.table:
        print(table([json.loads(line) for line in options.table.read_text().splitlines()]), end="")
        return
    torch.set_default_dtype(torch.float64)
    warnings.simplefilter("ignore")
    library = counter()
    for name in options.names or TARGETS:
        density = compiled(name)
        for seed in range(options.seeds):
            line = json.dumps(row(name, density, seed, library))
            print(line, flush=True)
            if options.save:
                with options.save.open("a") as file:
                    file.write(line + "\n")


if __name__ == "__main__":
    main()
