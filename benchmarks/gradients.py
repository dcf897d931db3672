"""Value and gradient of every model, sursum's C and the kernel by hand in turn: the least of many short loops.

python benchmarks/gradients.py [models]. Short loops, taken in turn, find moments in which the machine does nothing else: the
ratios hold on a busy machine too.
"""

from __future__ import annotations

import ctypes
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import sursum as su
from benchmarks import sursum_models
from benchmarks.kernels import KERNELS, Kernel, library
from benchmarks.models import MODELS, Array
from sursum.compiler.native.library.blas import one_thread

ROUNDS, SECONDS = 40, 0.002


def in_turn(functions: dict[str, tuple[int, int, Array]], dim: int) -> dict[str, float]:
    """Seconds per call of C functions, (address, user data, q) by name."""
    clock = library("timing").seconds
    clock.restype = ctypes.c_double
    gradient, value = np.zeros(dim), np.zeros(1)
    best: dict[str, float] = {}

    def loop(name: str, calls: int) -> None:
        address, user_data, q = functions[name]
        pointers = [ctypes.c_void_p(p) for p in (q.ctypes.data, gradient.ctypes.data, value.ctypes.data, user_data)]
        seconds = clock(ctypes.c_void_p(address), ctypes.c_size_t(dim), *pointers, ctypes.c_int64(calls)) / calls
        best[name] = min(best.get(name, np.inf), seconds)

    for name in functions:
        loop(name, 3)
    calls = {name: max(1, int(SECONDS / seconds)) for name, seconds in best.items()}
    for _ in range(ROUNDS):
        for name in functions:
            loop(name, calls[name])
    return best


def main() -> None:
    torch.set_default_dtype(torch.float64)
    warnings.simplefilter("ignore")
    print("| model | unknowns | gradient µs | kernel by hand µs | ratio |\n|---|---|---|---|---|")
    for model in sys.argv[1:] or MODELS:
        program, data = sursum_models.load(model)
        density = su.compile(program, *data, engine="native")
        instance, q = density.instance(), density.density.start(np.random.default_rng(0))
        functions = {"ours": (density.address, instance.pointer, q)}
        if model in KERNELS:
            kernel = Kernel(model)
            order = np.ascontiguousarray(q[kernel.order(density.density.latents)])
            functions["kernel"] = (kernel.address, kernel.pointer, order)
        with one_thread():  # of BLAS, as in a chain
            found = {name: seconds * 1e6 for name, seconds in in_turn(functions, density.dim).items()}
        beside = f"{found['kernel']:.3g} | {found['ours'] / found['kernel']:.2f}" if "kernel" in found else "– | –"
        print(f"| {model} | {density.dim} | {found['ours']:.3g} | {beside} |", flush=True)


if __name__ == "__main__":
    main()
