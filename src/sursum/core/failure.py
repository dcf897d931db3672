"""The context of a program's failure: the line, the values in it, and the sites that they come from."""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType, FrameType, TracebackType

import numpy as np
from torch import Tensor

from sursum.common.shown import abbreviate
from sursum.common.user_frame import is_users
from sursum.errors import SursumError

_DATA = (
    "data are tensors: pass arrays and columns to the program as arguments, of a whole data frame its x.to_numpy(), "
    "or write torch.as_tensor(x)"
)
_TENSORS = "a program receives array and column arguments as tensors: drop the conversion to tensors"
HINTS = (
    ("Can't call numpy()", f"compute with the values of sites in torch: torch.exp instead of np.exp; {_DATA}"),
    ("'numpy.ndarray' and 'Tensor'", _DATA),
    ("must all be instances of Number, torch.Tensor", _DATA),
    ("must be Tensor, not DataFrame", _DATA),
    ("'torch.dtype' object has no attribute 'kind'", _DATA),
    ("do not broadcast", "arguments of one plate have as many rows each"),
    ("expected np.ndarray (got Tensor)", _TENSORS),
    ("'Tensor' object has no attribute", _TENSORS),
    ("has no len()", "data are tensors, even a single number: torch.tensor([x])"),
    ("meta tensor", "a tensor on the meta device has a shape but no values: give data with values"),
    ("same dtype", "convert them to one dtype: X.float(), or parameters in double"),
    ("expected scalar type", "convert them to one dtype: X.float(), or parameters in double"),
    ("used as indices", "indices are integers: index.long()"),
    ("out of bounds", "indices run from 0 to size - 1"),
    ("size mismatch", "the inner sizes of a product must be equal"),
    ("mat1 and mat2 shapes", "the inner sizes of a product must be equal"),
    ("shapes cannot be multiplied", "the inner sizes of a product must be equal"),
    ("must match the size of tensor", "shapes broadcast from the right: unsqueeze(-1) adds a dimension"),
    ("can't be cast to the desired output type", "convert it to floats: y.float()"),
    ("only integer tensors of a single element", "a list is not a tensor: torch.tensor(x)"),
)
"""Fragments of torch's messages, and what to do about each."""

LIBRARIES = frozenset({"numpy", "pandas", "polars", "pyarrow", "scipy", "xarray"})

OPENERS = frozenset({"sample", "param", "deterministic", "module"})


_EXPLAINING: ContextVar[bool] = ContextVar("explaining", default=False)


@contextmanager
def explaining() -> Iterator[None]:
    """While a program is run to find out why it fails: what would give NaN says so instead, if it can."""
    token = _EXPLAINING.set(True)
    try:
        yield
    finally:
        _EXPLAINING.reset(token)


def is_explaining() -> bool:
    """Whether a program is run in order to find out why it fails."""
    return _EXPLAINING.get()


def explain(error: Exception) -> None:
    """Add a note to an exception raised by a program: where, with which values, from which sites, and what may help.

    Example:
        >>> import sursum as su, torch
        >>> def model(x):
        ...     b = su.param("b", torch.zeros(3))
        ...     return x @ b
        >>> try:
        ...     su.poutine.trace(model).get_trace(torch.zeros(5, 4))
        ... except RuntimeError as error:
        ...     print(error.__notes__[0])  # doctest: +ELLIPSIS
        In the program, at ... The inner sizes of a product must be equal.
    """
    if isinstance(error, SursumError) or getattr(error, "__notes__", None):
        return
    frame, line = _users(error.__traceback__)
    if frame is None:
        return
    code = frame.f_code
    tree = _source(code)
    names = _names(code, tree, line, frame)
    sites = {} if tree is None else _sites(tree)
    values = [f"{n}{f' (site {sites[n]!r})' if n in sites else ''} is {_describe(_value(frame, n))}" for n in names]
    hint = next((f" {help[0].upper()}{help[1:]}." for part, help in HINTS if part in str(error)), "")
    where = f"{code.co_filename.rpartition('/')[2]}:{line}"
    error.add_note(f"In the program, at {where}{': ' if values else ''}{', '.join(values)}.{hint}")


def _users(trace: TracebackType | None) -> tuple[FrameType | None, int]:
    """The innermost frame of the user's code, and its current line."""
    found: tuple[FrameType | None, int] = (None, 0)
    while trace is not None:
        # Errors inside array libraries are attributed to the program that called them.
        if is_users(trace.tb_frame.f_code.co_filename) and _library(trace.tb_frame) not in LIBRARIES:
            found = trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
    return found


def _names(code: CodeType, tree: ast.AST | None, line: int, frame: FrameType) -> list[str]:
    """The variables of the statement that hold data or values of sites, in order of appearance."""
    statement = _statement(tree, line - code.co_firstlineno + 1) if tree is not None else None
    if statement is None:
        statement = _parse(linecache.getline(code.co_filename, line, frame.f_globals).strip().removesuffix(":"))
    read = (node.id for node in _own(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    return [name for name in dict.fromkeys(read) if _is_data(_value(frame, name))]


def _parse(source: str) -> ast.AST | None:
    try:
        return ast.parse(source)
    except SyntaxError:
        return None


def _statement(tree: ast.AST, line: int) -> ast.AST | None:
    """The innermost statement that `line` of a function's source is part of."""
    found = [n for n in ast.walk(tree) if isinstance(n, ast.stmt) and n.lineno <= line <= (n.end_lineno or n.lineno)]
    return min(found, key=lambda n: (n.end_lineno or n.lineno) - n.lineno, default=None)


def _own(node: ast.AST | None) -> Iterator[ast.AST]:
    """`node` and its descendants, except nested statements; for a module those as well."""
    if node is None:
        return
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.Module) or not isinstance(child, ast.stmt):
            yield from _own(child)


def _value(frame: FrameType, name: str) -> object:
    """The value of `name` in a frame."""
    return frame.f_locals.get(name, frame.f_globals.get(name, frame))


def _is_data(value: object) -> bool:
    return value is None or isinstance(value, (Tensor, np.ndarray, list, int, float, str)) or _is_frame(value)


def _library(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_frame(value: object) -> bool:
    return type(value).__module__.startswith(("pandas", "polars"))


def _describe(value: object) -> str:
    return f"a {type(value).__module__.split('.')[0]} {type(value).__name__}" if _is_frame(value) else abbreviate(value)


def _source(code: CodeType) -> ast.AST | None:
    """The parsed source of a function; None if there is none, or for a lambda inside an expression."""
    try:
        return _parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, TypeError):
        return None


def _sites(tree: ast.AST) -> dict[str, str]:
    """The variables of a function that are assigned from sites: `b = su.sample("b", …)`."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and node.value.args:
            called, first = node.value.func, node.value.args[0]
            verb = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if verb in OPENERS and isinstance(first, ast.Constant) and isinstance(first.value, str):
                found |= {target.id: first.value for target in node.targets if isinstance(target, ast.Name)}
    return found
