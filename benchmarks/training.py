"""Training steps beside plain torch loops of the same arithmetic: milliseconds of processor time per step, and their ratio.

    python -m benchmarks.training [--peers PYTHON] [task ...]        # from the repository's root

MAP and mean field of logistic regression, a small network, a small transformer and perceptrons of 1e5, 1e6 and 1e7 weights (of
784 inputs, batches of 128 of 60,000 rows), SGLD of the perceptrons, and a variational autoencoder. The two loops alternate, and
the median of each is taken, since other work on the machine would otherwise count against one of them. Of small models many
steps in one call (`svi.run` with a subsampling plate) are timed as well. PYTHON is an interpreter that has Pyro and NumPyro:
`training_peers.py` runs the same in it. After each perceptron: seconds of `svi.sample(20)`, and what the mean-field loops add
to the largest memory of their processes. `--only TEXT` runs the rows whose name has it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from benchmarks import training_models as models
from benchmarks.training_models import LOSSES, MANY, RATE, ROUNDS, SPREAD, TASKS, Task

Step = Callable[..., Any]

LIKELIHOODS: dict[str, Callable[[Tensor], Any]] = {
    "bernoulli": lambda out: dist.Bernoulli(logits=out[..., 0]),
    "normal": lambda out: dist.Normal(out[..., 0], SPREAD),
    "categorical": lambda out: dist.Categorical(logits=out),
}
AUTOGUIDES = {"MAP": su.infer.autoguide.AutoDelta, "mean field": su.infer.autoguide.AutoNormal}


def nll(task: Task, net: nn.Module, weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    return LOSSES[task.observed](torch.func.functional_call(net, weights, (x,)), y) * (task.rows / task.batch)


def plain(task: Task, kind: Callable[..., torch.optim.Optimizer] = torch.optim.Adam, lr: float = RATE) -> Step:
    """A step of an optimiser on the log density, as one writes it with torch alone."""
    net = task.made()
    weights = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    optimizer, prior = kind(weights.values(), lr=lr), torch.distributions.Normal(0.0, 1.0)

    def step(x: Tensor, y: Tensor) -> None:
        loss = nll(task, net, weights, x, y) - sum(prior.log_prob(w).sum() for w in weights.values())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def plain_mean_field(task: Task) -> Step:
    normal, prior, net = torch.distributions.Normal, torch.distributions.Normal(0.0, 1.0), task.made()
    locs = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    logs = {name: torch.full_like(p, -2.3).requires_grad_() for name, p in locs.items()}
    optimizer = torch.optim.Adam([*locs.values(), *logs.values()], lr=RATE)

    def step(x: Tensor, y: Tensor) -> None:
        guides = {name: normal(loc, logs[name].exp(), validate_args=False) for name, loc in locs.items()}
        weights = {name: guide.rsample() for name, guide in guides.items()}
        loss = nll(task, net, weights, x, y)
        for name, guide in guides.items():
            loss = loss + (guide.log_prob(weights[name]) - prior.log_prob(weights[name])).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def svi_of(task: Task, kind: str) -> su.infer.SVI:
    program = lifted(task)
    return su.infer.SVI(program, AUTOGUIDES[kind](program), su.optim.Adam({"lr": RATE}), seed=0, progress=False)


def lifted(task: Task) -> su.lift:
    net = task.made()

    def program(x: Tensor, y: Tensor) -> None:
        with su.plate("rows", task.rows, subsample_size=len(x)):
            su.sample("y", LIKELIHOODS[task.observed](su.module("net", net)(x)), obs=y)

    return su.lift(program, {"net.**": dist.Normal(0.0, 1.0)})


def many(task: Task, kind: str) -> float:
    """Milliseconds of a step where one call takes many, on rows that a plate draws."""
    net = task.made()

    def program(x: Tensor, y: Tensor) -> None:
        with su.plate("rows", task.rows, subsample_size=task.batch) as rows:
            su.sample("y", LIKELIHOODS[task.observed](su.module("net", net)(x[rows])), obs=y[rows])

    program_of_all = su.lift(program, {"net.**": dist.Normal(0.0, 1.0)})
    guide = AUTOGUIDES[kind](program_of_all)
    svi = su.infer.SVI(program_of_all, guide, su.optim.Adam({"lr": RATE}), seed=0, progress=False)
    data, times = task.data(), []
    svi.run(MANY, *data)
    for _ in range(ROUNDS):
        began = time.process_time()
        svi.run(MANY, *data)
        times.append(1e3 * (time.process_time() - began) / MANY)
    return statistics.median(times)


def sgld(task: Task) -> Step:
    """A step of the chain itself: gradient, noise and move, as `SGMCMC` takes it."""
    from sursum.networks.preconditioner import Preconditioner
    from sursum.networks.target import Target

    program = lifted(task)
    dynamics, target = su.infer.SGLD(program, 1e-4), Target(program, next(task.batches()), {}, title="SGLD")
    q, generator, number = target.vector()[None].clone(), torch.Generator().manual_seed(0), 0
    normal = lambda like: torch.randn(like.shape, generator=generator, dtype=like.dtype)
    state, scale, given = dynamics.begin(q, normal), Preconditioner(), target.first
    chains = [replace(target.chain(0), take=lambda: given)]

    def step(x: Tensor, y: Tensor) -> None:
        nonlocal number, given
        given, number = (x, y), number + 1
        _, gradient = target.at_points(q, chains, number, at_once=False)
        dynamics.move(q, gradient, scale.root, state, 1e-4, normal)

    return step


def plain_vae() -> Step:
    torch.manual_seed(1)
    encoder, decoder = models.Encoder(), models.decoder()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=RATE)
    normal = torch.distributions.Normal

    def step(x: Tensor) -> None:
        guide = normal(*encoder(x), validate_args=False)
        z = guide.rsample()
        loss = nn.functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
        loss = loss + (guide.log_prob(z) - normal(0.0, 1.0).log_prob(z)).sum()
        optimizer.zero_grad()
        (loss * (models.IMAGES / models.IMAGES_BATCH)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def our_vae() -> Step:
    torch.manual_seed(1)
    encoder, decoder = models.Encoder(), models.decoder()

    def model(x: Tensor) -> None:
        net = su.module("decoder", decoder)
        with su.plate("rows", models.IMAGES, subsample_size=len(x)):
            z = su.sample("z", dist.Normal(torch.zeros(len(x), models.LATENT), 1.0).to_event(1))
            su.sample("x", dist.Bernoulli(logits=net(z)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        net = su.module("encoder", encoder)
        with su.plate("rows", models.IMAGES, subsample_size=len(x)):
            su.sample("z", dist.Normal(*net(x)).to_event(1))

    return su.infer.SVI(model, guide, su.optim.Adam({"lr": RATE}), seed=0, progress=False).step


def largest() -> int:
    """Kilobytes of this process's largest resident memory: `ru_maxrss` of a new one is that of the process that started it."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0])


def peak(name: str, whose: str, queue: Any) -> None:
    """Megabytes of the largest resident memory of a loop above what the process had before it."""
    torch.set_num_threads(1)
    task = TASKS[name]
    data = task.batches()
    next(data)
    before = largest()
    step = plain_mean_field(task) if whose == "plain" else svi_of(task, "mean field").step
    for _ in range(5):
        step(*next(data))
    queue.put((largest() - before) / 1024)


def memory(name: str) -> dict[str, float]:
    context, found = multiprocessing.get_context("spawn"), dict[str, float]()
    # What a loop needs, not what glibc keeps of it: by itself the allocator returns no block of up to 32 MB after the first.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**17)
    for whose in ("plain", "sursum"):
        queue = context.Queue()
        process = context.Process(target=peak, args=(name, whose, queue))
        process.start()
        found[whose] = queue.get()
        process.join()
    return found


def compare(steps: dict[str, Step], data: Iterator[tuple[Tensor, ...]], count: int) -> dict[str, float]:
    """Milliseconds per step of each, the median over steps, in alternation."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step(*next(data))
    for _ in range(ROUNDS):
        for name, step in steps.items():
            for _ in range(count):
                batch = next(data)
                began = time.process_time()
                step(*batch)
                times[name].append(1e3 * (time.process_time() - began))
    return {name: statistics.median(found) for name, found in times.items()}


def peers(python: str, tasks: list[str], only: str) -> dict[str, dict[str, float]]:
    """What `training_peers.py` measures: milliseconds by row and peer."""
    command = [python, "-m", "benchmarks.training_peers", *tasks, "--only", only]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(map(json.loads, done.stdout.splitlines()))


def show(row: str, found: dict[str, float]) -> None:
    print(row + ": " + ", ".join(f"{name} {ms:.3f} ms ({ms / found['plain']:.2f})" for name, ms in found.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=[*TASKS, "vae"], help=f"of {', '.join([*TASKS, 'vae'])}")
    parser.add_argument("--only", default="", help="rows whose name has this text")
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has Pyro and NumPyro")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    theirs = peers(chosen.peers, chosen.tasks, chosen.only) if chosen.peers else {}
    for name in chosen.tasks:
        if name == "vae":
            if chosen.only in "vae":
                found = compare({"plain": plain_vae(), "sursum": our_vae()}, models.images(), models.IMAGES_STEPS)
                show("vae", found | theirs.get("vae", {}))
            continue
        task = TASKS[name]
        count = sum(p.numel() for p in task.made().parameters())
        print(f"{name}: {count} weights", flush=True)
        for kind, loop in (("MAP", plain), ("mean field", plain_mean_field)):
            if chosen.only in kind:
                found = compare({"plain": loop(task), "sursum": svi_of(task, kind).step}, task.batches(), task.steps)
                if task.many:
                    found["sursum, many steps a call"] = many(task, kind)
                show(f"{name}, {kind}", found | theirs.get(f"{name}, {kind}", {}))
        if not name.startswith("1e"):
            continue
        if chosen.only in "SGLD":
            beside = {"plain": plain(task, torch.optim.SGD, 1e-8), "sursum": sgld(task)}
            show(f"{name}, SGLD beside plain SGD", compare(beside, task.batches(), task.steps))
        if chosen.only in "sample(20)":
            svi, batch = svi_of(task, "mean field"), next(task.batches())
            svi.step(*batch)
            began = time.process_time()
            svi.sample(20, *batch)
            print(f"{name}, svi.sample(20): {time.process_time() - began:.2f} s", flush=True)
        if chosen.only in "memory":
            used = memory(name)
            ratio = f"{used['sursum'] / used['plain']:.2f}" if used["plain"] > 5 else "too little to tell"
            print(f"{name}, memory of mean field: plain {used['plain']:.0f} MB, ours {ratio} of it", flush=True)


if __name__ == "__main__":
    main()
