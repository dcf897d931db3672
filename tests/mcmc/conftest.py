"""Log densities with known posteriors, behind the interface of a compiled density; and no progress on the screen."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sursum.core.calling import Program
from sursum.mcmc import MCMC, NUTS
from sursum.mcmc import mcmc as mcmc_module


@dataclass(frozen=True)
class Latent:
    name: str
    shape: tuple[int, ...]


@dataclass(eq=False)
class Gaussian:
    """A normal posterior of two unknowns, `mu` (scalar) and `log_s` with s = exp(log_s), and a few deterministic sites.

    It is its own `density`. `covariance` is that of (mu, log_s), both with mean `mean`.
    """

    covariance: Any = ((1.0, 0.9), (0.9, 1.0))
    mean: Any = (2.0, -1.0)
    engine: str = "torch"
    value_hook: Callable[[np.ndarray, float, np.ndarray], tuple[float, np.ndarray]] | None = None
    start_hook: Callable[[np.random.Generator], np.ndarray] | None = None
    evaluations: list[np.ndarray] = field(default_factory=list)
    dim: int = 2
    num_free: int = 2

    def __post_init__(self) -> None:
        self.precision = np.linalg.inv(np.array(self.covariance))
        self.centre = np.array(self.mean)

    @property
    def density(self) -> Gaussian:
        return self

    @property
    def program(self) -> Program:
        return Program(self.model, self.args, self.kwargs)

    latents = (Latent("mu", ()), Latent("s", ()))
    model = staticmethod(lambda: None)
    networks: frozenset[str] = frozenset()
    scales: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unobserved: tuple[str, ...] | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    dims: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"pair": ("side",), "y": ("house",)})
    coords: Mapping[str, Any] = field(default_factory=dict)
    observed: Mapping[str, Tensor] = field(default_factory=lambda: {"y": torch.tensor([1.0, 2.0, 3.0])})

    def coordinate_names(self) -> list[str]:
        return ["mu", "s"]

    def site_at(self, index: int) -> str:
        return ("mu", "s")[index]

    def explain(self, q: Any) -> str:
        return f"mu {float(q[0]):.3f} s {float(q[1]):.3f} model.py:7"

    def start(self, rng: np.random.Generator) -> np.ndarray:
        if self.start_hook is not None:
            return self.start_hook(rng)
        return rng.uniform(-0.1, 0.1, self.dim)

    def near(self, rng: np.random.Generator) -> np.ndarray:
        return self.start(rng)

    def value_and_grad(self, q: np.ndarray) -> tuple[float, np.ndarray]:
        if len(self.evaluations) < 10:
            self.evaluations.append(q.copy())
        gradient = -self.precision @ (q - self.centre)
        value = 0.5 * float((q - self.centre) @ gradient)
        return (value, gradient) if self.value_hook is None else self.value_hook(q, value, gradient)

    def expand(self, draws: np.ndarray) -> dict[str, Tensor]:
        q = torch.from_numpy(draws)
        return {
            "mu": q[:, 0],
            "s": q[:, 1].exp(),
            "pair": q.clone(),
            "constant": torch.full((len(q), 2), 3.0),
            "positive": q[:, 0] > 0,
            "floor": q[:, 0].floor().to(torch.int64),
        }


@pytest.fixture
def sampler(monkeypatch: pytest.MonkeyPatch) -> Callable[..., MCMC]:
    """`sampler(density, num_samples=…)`: an `MCMC` whose program is this density."""

    def make(density: Any, target_accept: float = 0.8, max_tree_depth: int = 10, **settings: Any) -> MCMC:
        monkeypatch.setattr(mcmc_module, "_compile", lambda kernel, args, kwargs, engine: kernel.model())
        nuts = NUTS(lambda: density, target_accept=target_accept, max_tree_depth=max_tree_depth)
        # Two chains at once, on a machine of one core too: some tests wait for both.
        defaults = {"num_warmup": 100, "num_samples": 100, "num_chains": 2, "cores": 2, "seed": 0, "progress": False}
        return MCMC(nuts, **{**defaults, **settings})

    return make


@pytest.fixture
def gaussian() -> type[Gaussian]:
    return Gaussian


SOURCE = r"""
#include <math.h>
#include <stdint.h>
/* instance: precision p00 p01 p11, mean m0 m1, calls so far, a call from which `code` is returned (0: never), code */
int64_t log_density(uint64_t n, const double *q, double *gradient, double *value, void *instance) {
    double *c = instance;
    if (n != 2) return -1;
    double a = q[0] - c[3], b = q[1] - c[4];
    gradient[0] = -(c[0] * a + c[1] * b);
    gradient[1] = -(c[1] * a + c[2] * b);
    *value = 0.5 * (a * gradient[0] + b * gradient[1]);
    c[5] += 1;
    if (c[6] > 0 && c[5] >= c[6]) return (int64_t)c[7];
    return 0;
}
int64_t copy(uint64_t n, uint64_t again, const double *q, double *out, void *instance) {
    if (n != again) return -1;
    for (uint64_t i = 0; i < n; i++) out[i] = q[i];
    return 0;
}
"""


@dataclass(eq=False)
class Instance:
    numbers: np.ndarray

    @property
    def pointer(self) -> int:
        return int(self.numbers.ctypes.data)


class NativeGaussian(Gaussian):
    """The same posterior in C."""

    def __init__(self, library: Path, *, fail_at: int = 0, code: int = 3, **settings: Any) -> None:
        super().__init__(engine="native", **settings)
        self.library = ctypes.CDLL(str(library))
        self.address = int(ctypes.cast(self.library.log_density, ctypes.c_void_p).value or 0)
        self.copy_address: int | None = int(ctypes.cast(self.library.copy, ctypes.c_void_p).value or 0)
        self.fail_at, self.code = fail_at, code
        self.instances: list[Instance] = []

    def instance(self) -> Instance:
        p = self.precision
        numbers = [p[0, 0], p[0, 1], p[1, 1], *self.centre, 0.0, self.fail_at, self.code]
        self.instances.append(Instance(np.array(numbers, dtype=np.float64)))
        return self.instances[-1]


@pytest.fixture(scope="session")
def c_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C of `NativeGaussian`, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("native")
    (folder / "normal.c").write_text(SOURCE)
    command = [compiler, "-O2", "-shared", "-fPIC", str(folder / "normal.c"), "-o", str(folder / "normal.so")]
    subprocess.run(command, check=True)
    return folder / "normal.so"


@pytest.fixture
def native_gaussian(c_library: Path) -> Callable[..., NativeGaussian]:
    return lambda **settings: NativeGaussian(c_library, **settings)
