"""Which names of Pyro's or NumPyro's a file uses, and what they are here. The file is read, and never run."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sursum as su
from sursum.compat.differences import DIFFERENCES, NUMPYRO
from sursum.errors import MissingNameError, OptionError

ROOTS = ("pyro", "numpyro")
Verdict = Literal["same", "differs", "write", "missing"]
MARKS: Mapping[str, str] = {"same": "there", "differs": "differs", "write": "write", "missing": "NOT HERE"}


@dataclass(frozen=True)
class Finding:
    """A name in a file: its dotted path, the lines that use it, and what it is here."""

    name: str
    lines: tuple[int, ...]
    verdict: Verdict
    note: str = ""

    def __str__(self) -> str:
        lines = ", ".join(map(str, self.lines[:6])) + (" …" if len(self.lines) > 6 else "")
        return f"{MARKS[self.verdict]:>8}  {self.name}  (line {lines}){f': {self.note}' if self.note else ''}"


def examine(source: str, filename: str = "<program>") -> list[Finding]:
    """What a program uses, in the order of its lines.

    Raises:
        OptionError: the source is not Python.

    Example:
        >>> for finding in examine("import pyro\\npyro.sample\\npyro.infer.SVGD"):
        ...     print(finding.name, finding.verdict)
        pyro.sample differs
        pyro.infer.SVGD missing
    """
    try:
        tree = ast.parse(source, filename)
    except (SyntaxError, ValueError) as error:
        raise OptionError(f"{filename} is not Python that can be read: {error}.") from error
    uses: dict[str, list[int]] = {}
    for name, line in _uses(tree):
        uses.setdefault(name, []).append(line)
    found = []
    for name, lines in uses.items():
        verdict, note = judge(name)
        found.append(Finding(name, tuple(dict.fromkeys(lines)), verdict, note))
    return found


def _uses(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The dotted names of the libraries in a program, and their lines; of a chain of attributes the longest."""
    names = dict(_imports(tree))
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ROOTS and not node.level:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names if not _is_module(node, alias))
        elif isinstance(node, (ast.Attribute, ast.Name)) and id(node) not in inner:
            dotted = _join_dots(node)
            first, _, rest = dotted.partition(".")
            if first in names and rest:
                yield f"{names[first]}.{rest}", node.lineno


def _is_module(node: ast.ImportFrom, alias: ast.alias) -> bool:
    """Whether what is imported is a module, whose names are used by themselves; a star stands for what follows."""
    if alias.name == "*":
        return True
    path = f"{node.module}.{alias.name}"
    return path in _MODULES


_MODULES = {
    f"{root}.{name}"
    for root in ROOTS
    for name in (
        *("poutine", "distributions", "infer", "optim", "nn", "ops", "params", "util", "settings", "contrib", "handlers"),
        *("infer.autoguide", "infer.reparam", "infer.mcmc", "distributions.constraints", "distributions.transforms"),
        *("ops.stats", "ops.indexing", "diagnostics", "contrib.autoname", "contrib.easyguide"),
    )
}


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that modules of the libraries, and what is imported from them, have in a program."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in ROOTS:
                    yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] in ROOTS:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _join_dots(node: ast.AST) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def judge(name: str) -> tuple[Verdict, str]:
    """What a dotted name of Pyro's or NumPyro's is here."""
    return _of_numpyro(name) if name.split(".")[0] == "numpyro" else _of_pyro(name)


def _of_pyro(name: str) -> tuple[Verdict, str]:
    parts = name.split(".")
    here: Any = importlib.import_module("sursum.compat.pyro")
    for depth, part in enumerate(parts[1:], start=2):
        try:
            here = getattr(here, part)
        except MissingNameError as error:
            path = f"sursum.compat.{'.'.join(parts[:depth])}"
            try:
                here = importlib.import_module(path)
                continue
            except ImportError:
                return "missing", str(error).partition(" is not here")[2].lstrip(":. ").rstrip(".")
        except AttributeError:
            break  # an attribute of a class or of a value
        if depth < len(parts) and not hasattr(here, "__path__") and not hasattr(here, "__file__"):
            break
    known = next((path for path in (".".join(parts[:k]) for k in range(len(parts), 1, -1)) if path in DIFFERENCES), None)
    return ("same", "") if known is None else ("differs", DIFFERENCES[known])


_PLACES = {
    "numpyro.infer.autoguide": ("su.infer.autoguide", su.infer.autoguide),
    "numpyro.infer.reparam": ("su.infer.reparam", su.infer.reparam),
    "numpyro.infer": ("su.infer", su.infer),
    "numpyro.handlers": ("su.handlers", su.handlers),
    "numpyro.distributions.constraints": ("su.distributions.constraints", su.distributions.constraints),
    "numpyro.distributions": ("su.distributions", su.distributions),
    "numpyro.optim": ("su.optim", su.optim),
    "numpyro": ("su", su),
}


def _of_numpyro(name: str) -> tuple[Verdict, str]:
    if name in NUMPYRO:
        return "write", NUMPYRO[name]
    for path, (ours, module) in _PLACES.items():
        rest = name.removeprefix(f"{path}.")
        if rest == name:
            continue
        first = rest.split(".")[0]
        if first in module.__all__:
            return "write", f"write `{ours}.{first}`"
        guide = next((one for one in su.infer.autoguide.__all__ if one == first), None)
        if guide is not None:
            return "write", f"write `su.infer.autoguide.{first}`"
        try:
            getattr(module, first)
        except MissingNameError as error:
            return "missing", str(error).partition(": ")[2].rstrip(".") or "there is nothing like it"
        except AttributeError:
            pass
    return "missing", "there is nothing like it"


def report(findings: list[Finding]) -> str:
    """The findings as text: what is not here first."""
    if not findings:
        return "This file uses no names of Pyro's or NumPyro's."
    order = ("missing", "differs", "write", "same")
    lines = [str(one) for verdict in order for one in findings if one.verdict == verdict]
    counts = {verdict: sum(one.verdict == verdict for one in findings) for verdict in order}
    theirs = any(one.name.startswith("pyro.") for one in findings)
    told = [f"{count} {MARKS[verdict].lower()}" for verdict, count in counts.items() if count]
    way = "\nChange the import: import sursum.compat.pyro as pyro" if theirs else "\nWrite `import sursum as su`."
    return "\n".join([*lines, "", f"{len(findings)} names: {', '.join(told)}.{way}"])
