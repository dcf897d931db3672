r"""sursum's NUTS beside nutpie's, on the same compiled densities from the same starts: what a gradient and a step are worth.

    python -m benchmarks.samplers worth --seeds 6 --save worth.jsonl   # smallest bulk ESS for each gradient, run by run
    python -m benchmarks.samplers step --save step.jsonl radon          # CPU µs of a leapfrog step, sampling alone
    python -m benchmarks.samplers table worth.jsonl step.jsonl          # the table of README.md

Targets are the models of `models` and the reference posteriors of `posteriordb`. **worth**: of one seed four chains of each
sampler, by defaults, the smallest effective sample size of bulk of all unconstrained coordinates over the gradients that
the draws after the warm-up took. It does not depend on how fast or how busy the machine is. Ours is run twice, with the
diagonal metric, which is nutpie's, and with the one that its warm-up chooses. The geometric mean of the ratios has the
Monte-Carlo error of its runs: the ratios of one target over the seeds have a variance, and targets are independent.

**step**: the chains are run in turn, so that both meet the same machine, and each time is the least of several. Ours is the
time of the thread between two calls of `advance`; nutpie's is that of the process, of a long run less a short one with the
same seed, over the difference of their steps.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sursum as su
from benchmarks import nutpie_chain, sursum_models
from benchmarks.models import MODELS, Array
from benchmarks.posteriordb.run import CASES
from sursum.draws.ess_rhat import mixing
from sursum.mcmc.kernel.adaptation import Adaptation
from sursum.mcmc.kernel.native import NativeKernel
from sursum.mcmc.kernel.state import RECORD, State
from sursum.mcmc.kernel_chain import KernelChain, advancing
from sursum.mcmc.seeds import chain_seed
from sursum.mcmc.start import find_start

CHAINS, LENGTH = 4, 1000

#: Targets of long gradients or long trajectories: draws of each chain, and of its warm-up.
SHORTER = {"logistic_large": 100, "network": 100, "gaussian_process": 300, "markov": 500, "volatility": 500}

POSTERIORS = {case.name: case for case in CASES if "eight_schools" not in case.name}  # which is one of the models


def targets(words: list[str]) -> Iterator[str]:
    """The names that hold one of the words, all without any."""
    for name in (*MODELS, *POSTERIORS):
        if not words or any(word in name for word in words):
            yield name


def compiled(name: str) -> Any:
    """The target's log density, in C."""
    if name in MODELS:
        program, data = sursum_models.load(name)
        return su.compile(program, *data, engine="native")
    return su.compile(POSTERIORS[name].lifted, *POSTERIORS[name].called_with(), engine="native")


def ours(density: Any, starts: list[Array], seeds: list[int], length: int, metric: str) -> tuple[Array, Array, Array]:
    """Draws after the warm-up (chain, draw, n), the gradients of each (chain, draw), and those of each chain's warm-up."""
    kernel, found = NativeKernel.open(), []
    for start, seed in zip(starts, seeds, strict=True):
        value, gradient = density.value_and_grad(start)
        state = State.create(start, value, gradient, key=seed, num_warmup=length)
        chain = KernelChain(advancing(density, kernel), state, Adaptation(metric, length), 2 * length).start()
        chain.end()
        trace = chain.trace()
        found.append((trace.unconstrained, trace.stats["n_steps"]))
    return _after(found, length)


def theirs(density: Any, starts: list[Array], seeds: list[int], length: int) -> tuple[Array, Array, Array]:
    """As `ours`."""
    chains = (nutpie_chain.sample(density, start, seed, length, length) for start, seed in zip(starts, seeds, strict=True))
    return _after([(chain.q, chain.steps) for chain in chains], length)


def _after(chains: list[tuple[Array, Array]], length: int) -> tuple[Array, Array, Array]:
    q, steps = (np.stack(arrays) for arrays in zip(*chains, strict=True))
    return q[:, length:], steps[:, length:], steps[:, :length].sum(1)


def worth(name: str, density: Any, seed: int) -> dict[str, Any]:
    """One seed's figures of a target: for each sampler ESS, R-hat, gradients of the draws and of the warm-up."""
    length = SHORTER.get(name, LENGTH)
    chains = [chain_seed(seed, k) for k in range(CHAINS)]
    starts = [find_start(density.density, density.value_and_grad, chain.start) for chain in chains]
    seeds = [chain.sampler for chain in chains]
    row: dict[str, Any] = {"target": name, "dim": density.dim, "seed": seed, "draws": length}
    for label, (q, steps, warmup) in {
        "nutpie": theirs(density, starts, seeds, length),
        "diagonal": ours(density, starts, seeds, length, "diagonal"),
        "auto": ours(density, starts, seeds, length, "auto"),
    }.items():
        found = mixing(q)
        row[label] = {
            "ess": float(found.ess_bulk.min()),
            "r_hat": float(found.r_hat.max()),
            "gradients": int(steps.sum()),
            "warmup": int(warmup.sum()),
        }
    return row


def step(name: str, density: Any, repeats: int) -> dict[str, Any]:
    """CPU microseconds of a leapfrog step of both; the least of several, in turn."""
    length = SHORTER.get(name, LENGTH)
    chain = chain_seed(0, 0)
    start = find_start(density.density, density.value_and_grad, chain.start)
    kernel, times, counts = NativeKernel.open(), [], (0, 0)
    for _ in range(repeats):
        seconds, mine = _sampling_alone(density, kernel, start, chain.sampler, length)
        short = nutpie_chain.sample(density, start, chain.sampler, length, 1)
        long = nutpie_chain.sample(density, start, chain.sampler, length, length + 1)
        counts = mine, int(long.steps.sum() - short.steps.sum())
        times.append((seconds, short.seconds, long.seconds))
    least = np.min(times, axis=0)
    microseconds = {"ours": 1e6 * least[0] / counts[0], "nutpie": 1e6 * (least[2] - least[1]) / counts[1]}
    return {"target": name, "dim": density.dim, **microseconds}


def _sampling_alone(density: Any, kernel: NativeKernel, start: Array, seed: int, length: int) -> tuple[float, int]:
    """CPU seconds of the draws after a warm-up of as many, and their steps."""
    value, gradient = density.value_and_grad(start)
    state = State.create(start, value, gradient, key=seed, num_warmup=length)
    instance, stop = density.instance(), np.zeros(1, dtype=np.int64)
    q, records = np.empty((length, density.dim)), np.zeros(length, RECORD)
    kernel.advance(state, length, density, instance, stop, q, None, records)
    began = time.thread_time()
    kernel.advance(state, length, density, instance, stop, q, None, records)
    return time.thread_time() - began, int(records["steps"].sum())


def ratios(rows: list[dict[str, Any]], label: str) -> Array:
    """Logarithms of our smallest ESS for each gradient over nutpie's, seed by seed."""
    return np.array([np.log(_rate(row[label]) / _rate(row["nutpie"])) for row in rows])


def _rate(figures: dict[str, float]) -> float:
    return figures["ess"] / figures["gradients"]


def table(rows: list[dict[str, Any]]) -> str:
    """The runs as a markdown table, and the geometric means below it."""
    lines = [
        "| target | unknowns | seeds | nutpie: ESS | steps | diagonal: ESS | steps | ESS/gradient | auto: steps "
        "| ESS/gradient | step µs | nutpie µs | ratio |",
        "| --- |" + " ---: |" * 12,
    ]
    steps = {row["target"]: row for row in rows if "ours" in row}
    means: dict[str, list[tuple[float, float]]] = {"diagonal": [], "auto": []}
    for name in targets([]):
        runs = [row for row in rows if row["target"] == name and "seed" in row]
        if not runs:
            continue
        cells = [name, str(runs[0]["dim"]), str(len(runs))]
        for label in ("nutpie", "diagonal", "auto"):
            share = 1.0 / (CHAINS * runs[0]["draws"])
            if label != "auto":
                cells.append(f"{np.exp(np.mean([np.log(row[label]['ess']) for row in runs])):.0f}")
            cells.append(f"{np.mean([row[label]['gradients'] for row in runs]) * share:.1f}")
            if label != "nutpie":
                found = ratios(runs, label)
                error = found.std(ddof=1) / np.sqrt(len(found)) if len(found) > 1 else np.nan
                means[label].append((found.mean(), error))
                cells.append(f"{np.exp(found.mean()):.2f} ± {error * np.exp(found.mean()):.2f}")
        timed = steps.get(name)
        cells += (
            [""] * 3
            if timed is None
            else [f"{timed['ours']:.3g}", f"{timed['nutpie']:.3g}", f"{timed['ours'] / timed['nutpie']:.2f}"]
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for label, found in means.items():
        centre, errors = np.array(found).T
        mean, error = np.exp(centre.mean()), np.sqrt((errors**2).sum()) / len(errors)
        lines.append(
            f"{label}: the geometric mean of the ratios over {len(found)} targets is {mean:.3f}, with a Monte-Carlo standard "
            f"error of {mean * error:.3f}."
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers", description=__doc__)
    parser.add_argument("what", choices=("worth", "step", "table"))
    parser.add_argument("words", nargs="*", help="targets whose names hold one of these words; files, for a table")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--save", type=Path, help="a file to which each row is added, as a line of JSON")
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    warnings.simplefilter("ignore")
    if options.what == "table":
        rows = [json.loads(line) for path in options.words for line in Path(path).read_text().splitlines()]
        print(table(rows), end="")
        return
    seeds = range(options.first, options.first + options.seeds) if options.what == "worth" else range(1)
    for name in targets(options.words):
        density = compiled(name)
        for seed in seeds:
            row = worth(name, density, seed) if options.what == "worth" else step(name, density, options.repeats)
            print(json.dumps(row), flush=True)
            if options.save:
                with options.save.open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
