"""What stood around where a program failed: the line, the values in it, and the sites that they come from."""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections.abc import Iterator
from types import CodeType, FrameType, TracebackType

import numpy as np
from torch import Tensor

from sursum.common.shown import shown
from sursum.common.user_frame import is_users
from sursum.errors import SursumError

_DATA = "data are tensors: give arrays and columns to the program as arguments, or write torch.as_tensor(x)"
_TENSORS = "arrays and columns that a program is called with come to it as tensors: leave out what turns them into such"
HINTS = (
    ("Can't call numpy()", f"what is computed with the values of sites must be torch's: torch.exp in place of np.exp; {_DATA}"),
    ("'numpy.ndarray' and 'Tensor'", _DATA),
    ("must all be instances of Number, torch.Tensor", _DATA),
    ("expected np.ndarray (got Tensor)", _TENSORS),
    ("'Tensor' object has no attribute", _TENSORS),
    ("has no len()", "data are tensors, one number as well: torch.tensor([x])"),
    ("meta tensor", "what is on the meta device has a shape and no values: give data that have some"),
    ("same dtype", "bring them to one dtype: X.float(), or parameters in double"),
    ("expected scalar type", "bring them to one dtype: X.float(), or parameters in double"),
    ("used as indices", "indices are whole numbers: index.long()"),
    ("out of bounds", "indices count from 0 to the size less 1"),
    ("size mismatch", "the inner sizes of a product must be the same"),
    ("mat1 and mat2 shapes", "the inner sizes of a product must be the same"),
    ("shapes cannot be multiplied", "the inner sizes of a product must be the same"),
    ("must match the size of tensor", "shapes broadcast from the right: unsqueeze(-1) makes room for a dimension"),
    ("can't be cast to the desired output type", "bring it to floating numbers: y.float()"),
    ("only integer tensors of a single element", "a list is no tensor: torch.tensor(x)"),
)
"""Parts of torch's messages, and what to do about them."""

LIBRARIES = frozenset({"numpy", "pandas", "polars", "pyarrow", "scipy", "xarray"})

OPENERS = frozenset({"sample", "param", "deterministic", "module"})


def explain(error: Exception) -> None:
    """Add a note to an exception that a program raised: where, with which values, of which sites, and what may help.

    Example:
        >>> import sursum as su, torch
        >>> def model(x):
        ...     b = su.param("b", torch.zeros(3))
        ...     return x @ b
        >>> try:
        ...     su.poutine.trace(model).get_trace(torch.zeros(5, 4))
        ... except RuntimeError as error:
        ...     print(error.__notes__[0])  # doctest: +ELLIPSIS
        In the program, at ... The inner sizes of a product must be the same.
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
    values = [f"{n}{f' (site {sites[n]!r})' if n in sites else ''} is {_described(_value(frame, n))}" for n in names]
    hint = next((f" {help[0].upper()}{help[1:]}." for part, help in HINTS if part in str(error)), "")
    where = f"{code.co_filename.rpartition('/')[2]}:{line}"
    error.add_note(f"In the program, at {where}{': ' if values else ''}{', '.join(values)}.{hint}")


def _users(trace: TracebackType | None) -> tuple[FrameType | None, int]:
    """The innermost frame of the user's code, and the line that it is at."""
    found: tuple[FrameType | None, int] = (None, 0)
    while trace is not None:
        # What libraries of arrays do with the program's values is the program's doing.
        if is_users(trace.tb_frame.f_code.co_filename) and _library(trace.tb_frame) not in LIBRARIES:
            found = trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
    return found


def _names(code: CodeType, tree: ast.AST | None, line: int, frame: FrameType) -> list[str]:
    """The variables of the statement that hold data or values of sites, in its order."""
    statement = _statement(tree, line - code.co_firstlineno + 1) if tree is not None else None
    if statement is None:
        statement = _parsed(linecache.getline(code.co_filename, line, frame.f_globals).strip().removesuffix(":"))
    read = (node.id for node in _own(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    return [name for name in dict.fromkeys(read) if _is_data(_value(frame, name))]


def _parsed(source: str) -> ast.AST | None:
    try:
        return ast.parse(source)
    except SyntaxError:
        return None


def _statement(tree: ast.AST, line: int) -> ast.AST | None:
    """The innermost statement that `line` of a function's source is part of."""
    found = [n for n in ast.walk(tree) if isinstance(n, ast.stmt) and n.lineno <= line <= (n.end_lineno or n.lineno)]
    return min(found, key=lambda n: (n.end_lineno or n.lineno) - n.lineno, default=None)


def _own(node: ast.AST | None) -> Iterator[ast.AST]:
    """`node` and what is in it, save the statements in it; of a module those as well."""
    if node is None:
        return
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.Module) or not isinstance(child, ast.stmt):
            yield from _own(child)


def _value(frame: FrameType, name: str) -> object:
    """What `name` stands for there."""
    return frame.f_locals.get(name, frame.f_globals.get(name, frame))


def _is_data(value: object) -> bool:
    return value is None or isinstance(value, (Tensor, np.ndarray, list, int, float, str)) or _is_frame(value)


def _library(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_frame(value: object) -> bool:
    return type(value).__module__.startswith(("pandas", "polars"))


def _described(value: object) -> str:
    return f"a {type(value).__module__.split('.')[0]} {type(value).__name__}" if _is_frame(value) else shown(value)


def _source(code: CodeType) -> ast.AST | None:
    """The source of a function, parsed; None where there is none, or of a lambda in the middle of something."""
    try:
        return _parsed(textwrap.dedent(inspect.getsource(code)))
    except (OSError, TypeError):
        return None


def _sites(tree: ast.AST) -> dict[str, str]:
    """The sites to which variables of a function are set: `b = su.sample("b", …)`."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and node.value.args:
            called, first = node.value.func, node.value.args[0]
            verb = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if verb in OPENERS and isinstance(first, ast.Constant) and isinstance(first.value, str):
                found |= {target.id: first.value for target in node.targets if isinstance(target, ast.Name)}
    return found
