"""The kernels written by hand in C, against which compiled densities are measured."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import models

SOURCES = Path(__file__).parent / "kernels"
FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=256", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math",
         "-std=gnu11", "-fPIC", "-shared")  # fmt: skip
#: gcc's own: clang, which does not know it, gathers nothing by itself.
GCC = ("-mtune-ctrl=^use_gather_2parts,^use_gather_4parts,^use_gather",)

#: Model → its C file, the order in which q holds the sites, definitions for the compiler.
KERNELS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "eight_schools": ("eight_schools", ("mu", "tau", "theta_decentered"), ()),
    "radon": ("radon", ("mu_a", "mu_b", "sigma_a", "sigma_b", "sigma", "a_decentered", "b_decentered"), ()),
    "poisson": ("poisson", ("mu", "sigma", "b", "effect_decentered"), ()),
    "logistic_small": ("logistic", ("alpha", "beta"), ("-DROWS=1000", "-DCOLUMNS=25")),
    "logistic_large": ("logistic", ("alpha", "beta"), ("-DROWS=100000", "-DCOLUMNS=50")),
    "volatility": ("volatility", ("mu", "phi", "sigma", "z"), ()),
}


@dataclass
class Kernel:
    """A kernel of one model: `address` has the signature of a compiled density's, `pointer` is its user data.

    `sites` is the order in which q holds the sites of sursum's program.
    """

    model: str
    sites: tuple[str, ...] = field(init=False)
    address: int = field(init=False)
    pointer: int = field(init=False)

    def __post_init__(self) -> None:
        source, self.sites, definitions = KERNELS[self.model]
        self._library = library(source, definitions)
        self.address = ctypes.cast(self._library.kernel, ctypes.c_void_p).value or 0
        self._columns = [np.ascontiguousarray(column) for column in models.MODELS[self.model].data().values()]
        self._pointers = (ctypes.c_void_p * len(self._columns))(*(column.ctypes.data for column in self._columns))
        self.pointer = ctypes.addressof(self._pointers)

    def order(self, latents: Sequence[Any]) -> np.ndarray:
        """Where in sursum's q each coordinate of the kernel's lies."""
        places = {latent.name: np.arange(latent.start, latent.stop) for latent in latents}
        return np.concatenate([places[name] for name in self.sites])

    def value_and_grad(self, q: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density and gradient at the kernel's own q."""
        q = np.ascontiguousarray(q, dtype=np.float64)
        value, grad = np.zeros(1), np.zeros(q.size)
        pointers = [ctypes.c_void_p(p) for p in (q.ctypes.data, grad.ctypes.data, value.ctypes.data, self.pointer)]
        self._library.kernel(ctypes.c_size_t(q.size), *pointers)
        return float(value[0]), grad


def library(source: str, definitions: Sequence[str] = ()) -> ctypes.CDLL:
    """A C file of `kernels/`, compiled with the flags that sursum gives its own."""
    path = Path(tempfile.mkdtemp()) / f"{source}.so"
    compiler = os.environ.get("CC", "cc")
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    flags = FLAGS if "clang" in said else FLAGS + GCC
    command = [compiler, *flags, *definitions, str(SOURCES / f"{source}.c"), "-o", str(path), "-lmvec", "-lm"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(path))
