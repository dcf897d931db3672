"""`export`: a density as a library that other languages can load."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.compiler.capture.capture import capture
from sursum.compiler.export import ExportedSite, standalone
from sursum.compiler.graph.graph import Graph
from sursum.compiler.native.library.cache import open_directory
from sursum.compiler.native.library.loaded import open_privately, unload
from sursum.compiler.native.library.toolchain import detect
from sursum.compiler.native.lower.external import holds_address
from sursum.compiler.native.proof import ProofError, disagreement
from sursum.compiler.passes import optimise
from sursum.density.log_density import LogDensity
from sursum.errors import CompileError
from sursum.io.files import write_atomically

ValueAndGrad = Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]

#: A suffix reserved by Stan.
_RESERVED = frozenset({"lp__"})


def export(
    density: LogDensity, graph: Graph, points: tuple[Tensor, Tensor], value_and_grad: ValueAndGrad, path: Path, march: str
) -> None:
    """Write the library and its C source; see `CompiledDensity.export`."""
    if holds_address(graph):
        raise CompileError(
            "the density calls a C function at an address of this process, where an exported library does not find it. Write "
            "the density in torch, or link that function yourself."
        )
    likelihood = density.without_jacobian()
    values = tuple(_column_major(density, q) for q in points)
    graphs = {
        "density": graph,
        "likelihood": optimise(capture(likelihood, points, gradient=True)),
        "constrain": optimise(capture(lambda q: (_column_major(density, q),), points, gradient=False)),
        "unconstrain": optimise(capture(lambda x: (_free(density, x),), _latents(density, values), gradient=False)),
    }
    tools = detect(open_directory(None))
    text, statements = standalone(
        graphs, _sites(density, points[0]), title=density.title, version=version("sursum"), vector=tools.vector
    )
    library = tools.compile(text, statements)
    _check(library, density, points, value_and_grad)
    if march != "native":
        library = tools.compile(text, statements, march=march)
    _write(path.with_suffix(".c"), text.encode("ascii"))
    _write(path, library)


def identifiers(names: Sequence[str]) -> list[str]:
    """Names of sites as C (and Stan) identifiers: dots and other characters become underscores, clashes get a number.

    Example:
        >>> identifiers(["net.0.weight", "net.0_weight", "2nd", "sigma"])
        ['net_0_weight', 'net_0_weight_2', 'site_2nd', 'sigma']
    """
    taken: set[str] = set(_RESERVED)
    found = []
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "site"
        plain = plain if plain[0].isalpha() else f"site_{plain}"
        unique, count = plain, 1
        while unique in taken:
            count += 1
            unique = f"{plain}_{count}"
        taken.add(unique)
        found.append(unique)
    return found


def _sites(density: LogDensity, q: Tensor) -> list[ExportedSite]:
    with torch.no_grad():
        values = density.transform(q.clone())
    latents = {latent.name: latent for latent in density.latents}
    return [
        ExportedSite(name, tuple(value.shape), latents[site].free_shape if site in latents else None)
        for name, (site, value) in zip(identifiers(list(values)), values.items(), strict=True)
    ]


def _column_major_elements(value: Tensor) -> Tensor:
    """The elements, the first index moving fastest."""
    return value.permute(tuple(range(value.dim() - 1, -1, -1))).reshape(-1).to(torch.float64)


def _column_major(density: LogDensity, q: Tensor) -> Tensor:
    """All sites at q, one after another."""
    return torch.cat([_column_major_elements(value) for value in density.transform(q).values()])


def _latents(density: LogDensity, values: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    count = sum(int(np.prod(latent.shape)) for latent in density.latents)
    first, second = (value[:count].detach().to(torch.float64) for value in values)
    return first, second


def _free(density: LogDensity, x: Tensor) -> Tensor:
    """q at latent values, one after another in column-major order."""
    values, start = {}, 0
    for latent in density.latents:
        size = int(np.prod(latent.shape))
        block = x[start : start + size].reshape(latent.shape[::-1])
        values[latent.name] = block.permute(tuple(range(block.dim() - 1, -1, -1))).to(latent.dtype)
        start += size
    return density.ravel(values)


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    try:
        write_atomically(path, content, mode=0o777 if path.suffix != ".c" else 0o666)
    except OSError as error:
        raise CompileError(f"the exported library could not be written to {str(path)!r}: {error}") from error


def _check(library: bytes, density: LogDensity, points: Sequence[Tensor], value_and_grad: ValueAndGrad) -> None:
    """Check the library's log density, gradient and bijections against the engine's before it is written."""
    loaded = open_privately(library)
    loaded.bs_model_construct.restype = ctypes.c_void_p
    model = ctypes.c_void_p(loaded.bs_model_construct(None, 0, None))
    n, count = density.dim, loaded.bs_param_num(model, False, False)
    value, gradient, values, again = np.empty(1), np.empty(n), np.empty(count), np.empty(n)
    for point in points:
        q = point.detach().numpy().astype(np.float64)
        calls = (
            loaded.bs_log_density_gradient(model, False, True, *_addresses(q, value, gradient), None),
            loaded.bs_param_constrain(model, False, False, *_addresses(q, values), None, None),
            loaded.bs_param_unconstrain(model, *_addresses(values, again), None),
        )
        wanted, slope = value_and_grad(q)
        wrong = [
            f"{what}: {found}"
            for what, found in (
                ("calls failed", str(calls) if any(calls) else None),
                ("log density", disagreement(value, np.array([wanted]))),
                ("gradient", disagreement(gradient, slope)),
                # The maps are the program's, in its own precision where it asks for that.
                ("unconstrained values", None if np.allclose(again, q, rtol=1e-6, atol=1e-6) else f"{again}, not {q}"),
            )
            if found
        ]
        if wrong:
            raise ProofError(
                f"{density.title}: the exported library disagrees with the density it was made from: "
                f"{'; '.join(wrong)}. This is a bug in sursum: please report it."
            )
    loaded.bs_model_destruct(model)
    unload(loaded)


def _addresses(*arrays: NDArray[np.float64]) -> tuple[ctypes.c_void_p, ...]:
    return tuple(ctypes.c_void_p(array.ctypes.data) for array in arrays)
