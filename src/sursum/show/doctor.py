"""Report what this machine offers, and whether sampling works on it: one line per finding."""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import torch

from sursum.cluster import Ray, Workers
from sursum.compiler.compiled import compile
from sursum.compiler.native.library import blas
from sursum.compiler.native.library.cache import contents, default_directory, open_directory
from sursum.compiler.native.library.toolchain import Toolchain, detect
from sursum.compiler.native.ops import VECTOR
from sursum.core.primitives import sample
from sursum.distributions import Normal
from sursum.errors import CompileError, EngineWarning
from sursum.handlers import plate
from sursum.mcmc import MCMC, NUTS
from sursum.mcmc.kernel.native import NativeKernel

MARKS = {True: "ok", False: "FAILED", None: "note"}


@dataclass(frozen=True)
class Finding:
    """One finding: whether it works (None: it works, but could be better), and what was found."""

    name: str
    works: bool | None
    said: str

    def __str__(self) -> str:
        first, *rest = self.said.splitlines()
        return "\n".join([f"{MARKS[self.works]:>6}  {self.name:<14}{first}", *(" " * 22 + line for line in rest)])


def examine() -> Iterator[Finding]:
    """Examine everything, and sample a small model on each engine.

    Example:
        >>> findings = examine()
        >>> next(findings).name, next(findings).name
        ('python', 'torch')
    """
    yield Finding("python", True, f"{platform.python_version()} on {platform.platform()}")
    yield Finding("torch", True, f"{torch.__version__}, {torch.get_num_threads()} threads")
    tools = None
    try:
        tools = detect(open_directory(None))
        yield Finding("compiler", True, f"{tools.version}\n{' '.join(tools.command)}")
        yield Finding("flags", True, " ".join(tools.flags))
        yield _vector(tools)
    except CompileError as error:
        yield Finding("compiler", False, str(error))
    yield _try("BLAS", _routines)
    yield _try("kernels", _kernels)
    yield _try("arviz", lambda: version("arviz"))
    yield _cache()
    for engine in ("native", "torch"):
        yield _try(f"{engine} engine", partial(_sample, engine))


def examine_ray() -> Iterator[Finding]:
    """Examine Ray: connect to the cluster of this machine, or start a local one, and sample there.

    Example:
        >>> [finding.name for finding in examine_ray()]  # doctest: +SKIP
        ['ray', 'cluster', 'draws there']
    """
    yield _try("ray", lambda: version("ray"))
    yield _try("cluster", _cluster)
    yield _try("draws there", partial(_sample, None, Ray()))


def _cluster() -> str:
    ray = Ray().connect()
    has, nodes = ray.cluster_resources(), len(ray.nodes())
    return f"{nodes} machine{'s' if nodes > 1 else ''}, {has.get('CPU', 0):.0f} CPUs, {has.get('memory', 0) / 2**30:.0f} GiB"


def _vector(tools: Toolchain) -> Finding:
    count = len(tools.vector)
    if count:
        return Finding("vector math", True, f"libmvec: {count} of {len(VECTOR)} functions ({', '.join(sorted(tools.vector))})")
    return Finding("vector math", None, "libmvec was not found: exp, log and the like are computed one by one")


def _routines() -> str:
    found = {routine: blas.address(routine) for routine in ("dgemm", "dpotrf", "threads")}
    scipy = f"SciPy {version('scipy')}"
    products = "torch's MKL" if found["threads"] else scipy
    return f"dgemm of {products}, dpotrf of {scipy}" if found["dgemm"] and found["dpotrf"] else ""


def _kernels() -> str:
    try:
        NativeKernel.open()
    except CompileError:
        return "in NumPy, since there is no C compiler: chains are slower"
    return "in C"


def _cache() -> Finding:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EngineWarning)
        place = open_directory(None)
    if place is None:
        return Finding("cache", None, str(caught[0].message) if caught else f"{default_directory()} cannot be used")
    files = contents(place)
    size = sum(file.stat().st_size for file in files)
    return Finding("cache", True, f"{place}: {len(files)} files, {size / 1e6:.1f} MB")


def _sample(engine: str | None, on: Workers | None = None) -> str:
    """Sample a model whose posterior is known, and compare.

    Raises:
        CompileError: the draws are not those of the posterior.
    """
    y = torch.linspace(-1.0, 3.0, 20)

    def model() -> None:
        mu = sample("mu", Normal(0.0, 1.0))
        with plate("data", len(y)):
            sample("y", Normal(mu, 1.0), obs=y)

    began = time.perf_counter()
    density = compile(model, engine=engine)
    compiled = time.perf_counter() - began
    mcmc = MCMC(NUTS(model), num_warmup=300, num_samples=500, num_chains=2, seed=0, engine=engine, progress=False, on=on)
    posterior = mcmc.run()
    sampled = time.perf_counter() - began - compiled
    # Conjugate: precision 1 + 20, mean Σy / 21. Five standard errors of the mean of about 300 independent draws.
    wanted, found = float(y.sum()) / 21.0, float(posterior["mu"].mean())
    if not abs(found - wanted) < 5.0 * 21.0**-0.5 / 300.0**0.5:
        raise CompileError(f"sampled a mean of {found:.3f} but {wanted:.3f} is correct: please report it")
    steps = int(posterior.stats["n_steps"].sum() + posterior.warmup.stats["n_steps"].sum())
    return f"compiled in {compiled:.2f} s, sampled {steps} steps in {sampled:.2f} s, {density.dim} unknown, right mean"


def _try(name: str, look: Callable[[], str]) -> Finding:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Finding(name, True, look())
    except PackageNotFoundError:
        return Finding(name, False, f"is not installed: pip install {name}")
    except Exception as error:
        return Finding(name, False, f"{type(error).__name__}: {error}")
