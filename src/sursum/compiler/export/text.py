"""The source of a stand-alone library."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import torch
from torch import Tensor

from sursum.compiler.graph.graph import Graph
from sursum.compiler.native.build import translate
from sursum.compiler.native.emit.comment import comment
from sursum.compiler.native.emit.program import INCLUDES, INSTANCE, Emitted
from sursum.errors import CompileError

#: The functions of the text, in this order.
STEMS = ("density", "likelihood", "constrain", "unconstrain")

FUNCTION = """\
struct function {
    int64_t (*run)(size_t dim, const double *in, double *out, double *logp, void *instance);
    size_t dim;
    const void *const *constants;
    void *const *blas;
};

struct site {
    const char *name;
    int rank;
    const int64_t *shape;
    int64_t start; /* in the constrained values */
    int64_t size;
};
"""
_PER_LINE = 6


@dataclass(frozen=True, slots=True)
class ExportedSite:
    """A site's name in C, its shape, and that of its unconstrained coordinates (None for a deterministic one)."""

    name: str
    shape: tuple[int, ...]
    free_shape: tuple[int, ...] | None


def standalone(
    graphs: Mapping[str, Graph], sites: Sequence[ExportedSite], *, title: str, version: str, vector: frozenset[str]
) -> tuple[str, int]:
    """One C file, and its number of statements.

    Args:
        graphs: by `STEMS`: log density and gradient with and without the log-Jacobian, the constrained values at q
            (column-major, latent sites first), and q at constrained values.
        sites: in the order of the values; latent ones first.
        title: the program's name.
        version: the version of sursum.
        vector: the functions in libmvec.

    Raises:
        UnsupportedOperator: an operator has no lowering.
        CompileError: a BLAS or LAPACK routine has no replacement here.
    """
    emitted: dict[str, Emitted] = {}
    tables: list[str] = []
    routines: dict[str, None] = {}
    for stem in STEMS:
        emitted[stem], program = translate(graphs[stem], f"{title}: {stem}", vector, stem)
        ordered = [program.arrays[k] for k in sorted(program.constants.values())]
        tables += [_array(f"{stem}_{k}", array) for k, array in enumerate(ordered)]
        tables.append(_pointers(f"{stem}_constants", "const void *const", [f"{stem}_{k}" for k in range(len(ordered))]))
        tables.append(_pointers(f"{stem}_blas", "void *const", [f"(void *)su_{name}" for name in program.blas]))
        routines.update(dict.fromkeys(program.blas))
        tables.append(f"static const struct function {stem} = {{{stem}_run, {program.dim}, {stem}_constants, {stem}_blas}};\n")
    parts = emitted.values()
    text = [
        comment(title),
        comment(f"A log density made by sursum {version}: compile with any C compiler as a shared library, link with libm."),
        "",
        *INCLUDES,
        "",
        INSTANCE,
        FUNCTION,
        *_once(line for part in parts for line in part.declared),
        *_once(helper for part in parts for helper in part.helpers),
        *(_read(f"{name}.c", name) for name in routines),
        *(part.body.replace(f"int64_t {stem}_run", f"static int64_t {stem}_run") for stem, part in emitted.items()),
        *tables,
        *_facts(sites, title, version, max(part.workspace for part in parts)),
        _read("interface.c", "the interface"),
    ]
    return "\n".join(text), sum(part.statements for part in parts)


def _read(file: str, what: str) -> str:
    source = files(__package__).joinpath(file)
    if not source.is_file():
        raise CompileError(
            f"an exported library contains its own linear algebra, which does not have {what!r}. "
            "Use a smaller matrix, or write this part of the program with other operators."
        )
    return source.read_text(encoding="ascii")


def _once(lines: Iterator[str]) -> Iterator[str]:
    return iter(dict.fromkeys(lines))


def _array(name: str, tensor: Tensor) -> str:
    kind = {torch.float64: "double", torch.int64: "int64_t", torch.bool: "bool"}[tensor.dtype]
    numbers = [_number(x) for x in tensor.tolist()] or ["0"]
    rows = (", ".join(numbers[i : i + _PER_LINE]) for i in range(0, len(numbers), _PER_LINE))
    return f"static const {kind} {name}[] = {{\n    " + ",\n    ".join(rows) + ",\n};"


def _number(x: float | int | bool) -> str:
    """A literal that parses to the same bits."""
    if isinstance(x, bool):
        return str(int(x))
    if isinstance(x, int):
        # C reads the smallest integer as a negated literal that is too large.
        return f"INT64_C({x})" if abs(x) < 2**63 else "INT64_MIN"
    if math.isnan(x):
        return "NAN"
    if math.isinf(x):
        return "INFINITY" if x > 0 else "-INFINITY"
    return repr(x)


def _pointers(name: str, kind: str, items: Sequence[str]) -> str:
    return f"static {kind} {name}[] = {{{', '.join(items) or 'NULL'}}};"


def _facts(sites: Sequence[ExportedSite], title: str, version: str, workspace: int) -> list[str]:
    """What the interface needs to know about the model."""
    latent = [site for site in sites if site.free_shape is not None]
    names = {
        "LATENT_NAMES": [n for site in latent for n in _elements(site.name, site.shape)],
        "ALL_NAMES": [n for site in sites for n in _elements(site.name, site.shape)],
        "FREE_NAMES": [n for site in latent for n in _elements(site.name, site.free_shape or ())],
    }
    lines = [
        f"#define WORKSPACE ((size_t){workspace})",
        f"#define NAME {json.dumps(title)}",
        f"#define VERSION {json.dumps(version)}",
        *(f"static const char {name}[] = {json.dumps(','.join(found))};" for name, found in names.items()),
        f"enum {{ LATENT = {len(names['LATENT_NAMES'])}, ALL = {len(names['ALL_NAMES'])}, "
        f"FREE = {len(names['FREE_NAMES'])}, LATENT_SITES = {len(latent)} }};",
    ]
    table, start = [], 0
    for k, site in enumerate(latent):
        lines.append(f"static const int64_t shape_{k}[] = {{{', '.join(map(str, site.shape)) or '0'}}};")
        size = math.prod(site.shape)
        table.append(f"    {{{json.dumps(site.name)}, {len(site.shape)}, shape_{k}, {start}, {size}}},")
        start += size
    return [*lines, "static const struct site sites[] = {", *table, "};", ""]


def _elements(name: str, shape: tuple[int, ...]) -> Iterator[str]:
    """The names of a site's elements, numbered from 1, the first index moving fastest."""
    for place in range(math.prod(shape)):
        index = []
        for n in shape:
            index.append(str(place % n + 1))
            place //= n
        yield ".".join([name, *index])
