"""The operators of the loop program: one line each for all that is known of one.

`form` is how C writes it: "leaf", "infix" and "prefix" (by the sign `c`), "call" of a function of the C library, "own", a
function `su_<name>` of ours in ``c/<name>.c``, or "special".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class OperatorCost(IntEnum):
    """What it costs to compute an operator once more."""

    FREE = 0  #: less than to store its result and load it
    PLAIN = 1  #: an instruction or a few, which have a vector form
    CALL = 2  #: a function


@dataclass(frozen=True, slots=True)
class Op:
    """One operator on numbers.

    Args:
        arity: how many operands it has; a load has one for each index that is computed.
        c: its sign or function in C.
        vector: whether it may have a vector form: libmvec's, or the one that gcc makes of a function of ours without branches.
        wraps: whether it may leave the integers of 64 bits.
        torch: the operator of torch that is this and nothing else, for doubles.
        sign: "+" if it is never negative, "x" if it is not where its operand is not.
        selects: whether it is `sursum::<name>` of `common/special`, and is passed first what of the function is asked for.
    """

    name: str
    arity: int
    form: str
    cost: OperatorCost
    c: str = ""
    vector: bool = False
    wraps: bool = False
    torch: str = ""
    sign: str = ""
    selects: bool = False


FREE, PLAIN, CALL = OperatorCost.FREE, OperatorCost.PLAIN, OperatorCost.CALL


def _infix(name: str, c: str, *, wraps: bool = False) -> Op:
    return Op(name, 2, "infix", PLAIN, c, wraps=wraps)


def _instruction(name: str, arity: int = 1, torch: str = "", sign: str = "") -> Op:
    return Op(name, arity, "call", PLAIN, name, torch=torch, sign=sign)


def _libm(name: str, sign: str = "", torch: str | None = None) -> Op:
    """A function of the C library that libmvec may have."""
    return Op(name, 1, "call", CALL, name, vector=True, torch=name if torch is None else torch, sign=sign)


def _libm2(name: str) -> Op:
    return Op(name, 2, "call", CALL, name, vector=True)


def _own(name: str, arity: int, torch: str = "", *, vector: bool = False, sign: str = "") -> Op:
    return Op(name, arity, "own", CALL, f"su_{name}", torch=torch, vector=vector, sign=sign)


def _special(name: str, arity: int) -> Op:
    return Op(name, 1 + arity, "own", CALL, f"su_{name}", selects=True)


_ALL = (
    Op("const", 0, "leaf", FREE),
    Op("index", 0, "leaf", FREE),
    Op("load", 0, "leaf", FREE),
    Op("neg", 1, "prefix", FREE, "-", wraps=True),
    Op("not", 1, "prefix", FREE, "!"),
    Op("cast", 1, "special", FREE),
    Op("narrow", 1, "special", FREE),
    Op("select", 3, "special", PLAIN),
    _infix("add", "+", wraps=True),
    _infix("sub", "-", wraps=True),
    _infix("mul", "*", wraps=True),
    _infix("div", "/"),
    _infix("lt", "<"),
    _infix("le", "<="),
    _infix("gt", ">"),
    _infix("ge", ">="),
    _infix("eq", "=="),
    _infix("ne", "!="),
    _infix("and", "&"),
    _infix("or", "|"),
    _infix("xor", "^"),
    _instruction("fabs"),
    _instruction("sqrt", torch="sqrt", sign="+"),
    _instruction("floor", torch="floor"),
    _instruction("ceil", torch="ceil"),
    _instruction("trunc", torch="trunc"),
    _instruction("rint", torch="round"),
    _instruction("copysign", 2),
    Op("fmod", 2, "call", CALL, "fmod"),
    _libm("exp", "+"),
    _libm("exp2", "+"),
    _libm("expm1", "x"),
    _libm("log"),
    _libm("log2"),
    _libm("log10"),
    _libm("log1p", "x"),
    _libm("sin"),
    _libm("cos"),
    _libm("tan"),
    _libm("asin"),
    _libm("acos"),
    _libm("atan"),
    _libm("sinh"),
    _libm("cosh", "+"),
    _own("tanh", 1, torch="tanh", vector=True, sign="x"),
    _libm("asinh"),
    _libm("acosh"),
    _libm("atanh"),
    _libm("erf"),
    _libm("erfc"),
    _libm("cbrt", torch=""),
    _libm2("pow"),
    _libm2("atan2"),
    _libm2("hypot"),
    _own("lgamma", 1, torch="lgamma"),
    _own("digamma", 1, torch="digamma"),
    _own("trigamma", 1),
    _own("erfinv", 1, torch="erfinv"),
    _own("erfcx", 1),
    _special("inverse_mills", 1),
    _own("ndtri", 1),
    _own("zeta", 2),
    _own("bessel", 3),
    _special("incomplete_gamma", 2),
    _special("log_incomplete_gamma", 2),
    _special("incomplete_beta", 4),
    _special("log_beta", 2),
    _special("student_cdf", 2),
    _own("floordiv", 2),
    _own("pymod", 2),
    _own("intdiv", 2),
    _own("intfloordiv", 2),
    _own("intmod", 2),
)

#: By name.
OPS: Mapping[str, Op] = {op.name: op for op in _ALL}
#: The functions of which libmvec may have a vector form.
VECTOR = frozenset(op.name for op in _ALL if op.vector and op.form == "call")
#: Those of ours of which every compiler makes one.
INLINE = frozenset(op.name for op in _ALL if op.vector and op.form == "own")


def is_plain(name: str) -> bool:
    """Whether an operator is not a call of a function.

    Example:
        >>> is_plain("sqrt"), is_plain("exp")
        (True, False)
    """
    return OPS[name].cost < CALL


@dataclass(frozen=True, slots=True)
class Reduction:
    """How numbers become one along dimensions: OpenMP's sign for it, what it starts from, by kind, and that of nothing."""

    clause: str
    empty: float
    start: Mapping[str, str] = field(default_factory=dict)


REDUCTIONS: Mapping[str, Reduction] = {
    "sum": Reduction("+", 0.0, {"f": "0.0", "i": "0", "b": "0"}),
    "prod": Reduction("*", 1.0, {"f": "1.0", "i": "1"}),
    "max": Reduction("max", float("-inf"), {"f": "-INFINITY", "i": "INT64_MIN", "b": "0"}),
    "min": Reduction("min", float("inf"), {"f": "INFINITY", "i": "INT64_MAX", "b": "1"}),
    "all": Reduction("&", 1.0, {"b": "1"}),
    "any": Reduction("|", 0.0, {"b": "0"}),
}
