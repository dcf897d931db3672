"""The state of a chain: one block of bytes, a header and arrays of doubles, the same for NumPy and for C."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.mcmc.kernel.metric import DENSE, DIAGONAL, Metric

Array = NDArray[np.float64]

VERSION = 2
"""Of the layout, and of what the numbers mean: a chain of another version is not continued."""


class Transition(IntEnum):
    """What makes a chain's next draw: the field `kernel` of the header, and a constant of this name in C."""

    NUTS = 0
    HMC = 1
    WALNUTS = 2


HEADER: dict[str, str] = {
    **dict.fromkeys(("version", "bytes", "dim", "kernel", "metric", "rank", "held"), "int64_t"),
    "key": "uint64_t",
    "draw": "int64_t",
    "num_warmup": "int64_t",
    **dict.fromkeys(("early", "late"), "int64_t"),  # the warm-up's draws at which its phases end
    **dict.fromkeys(("max_depth", "max_halvings", "max_steps"), "int64_t"),
    **dict.fromkeys(("adapts_metric", "scaled", "search"), "int64_t"),  # yes or no
    **dict.fromkeys(("old_count", "new_count", "updates", "steps", "divergences"), "int64_t"),
    **dict.fromkeys(("value", "target", "length", "tolerance", "step_size", "centre", "error", "average"), "double"),
}
"""The fields of the header and their types in C, each of 8 bytes."""

_DTYPES = {"int64_t": np.int64, "uint64_t": np.uint64, "double": np.float64}

RECORD = np.dtype(
    [(name, np.float64) for name in ("value", "accepted", "step_size", "energy", "energy_error")]
    + [(name, np.int64) for name in ("depth", "steps", "diverging", "full", "tuning")]
)
"""What is said of a draw."""

WINDOWS = 8
"""Rows of the warm-up's two windows: for each the mean and the summed squares of draws, and of gradients."""


def shapes(n: int, metric: int, rank: int, held: int) -> dict[str, tuple[int, ...]]:
    """The arrays after the header, in their order; `held` are coordinates that trajectories leave as they are."""
    vectors = (n, n) if metric == DENSE else (rank, n)
    moving = {"position": (n,), "gradient": (n,), "scale": (n,), "windows": (WINDOWS, n)}
    return {**moving, "vectors": vectors, "factors": (rank,), "held": (held,)}


def header_in_c() -> str:
    """The declarations of the header and the arrays."""
    fields = "\n".join(f"    {kind} {name};" for name, kind in HEADER.items())
    names = list(shapes(1, DIAGONAL, 0, 0))
    lines, before = [], "(double *)(c + 1)"
    size = {"windows": f"{WINDOWS} * n", "vectors": f"(c->metric == {DENSE} ? n * n : (size_t)c->rank * n)"}
    size["factors"] = "(size_t)c->rank"
    for name in names:
        lines.append(f"    a.{name} = {before};")
        before = f"a.{name} + {size.get(name, 'n')}"
    body = "\n".join(lines)
    transitions = ", ".join(f"{transition.name} = {transition}" for transition in Transition)
    return (
        f"enum {{ {transitions} }};\n\nstruct chain {{\n{fields}\n}};\n\n"
        f"struct arrays {{\n    double *{', *'.join(names)};\n}};\n\n"
        f"static struct arrays arrays(struct chain *c)\n{{\n    const size_t n = (size_t)c->dim;\n    struct arrays a;\n"
        f"{body}\n    return a;\n}}\n"
    )


@dataclass(frozen=True, eq=False)
class State:
    """A chain between two draws. `head` (the header), and the arrays by name, are views of `block`.

    Example:
        >>> state = State.create(np.zeros(2), 0.0, np.ones(2), key=1, num_warmup=10, kernel=Transition.NUTS)
        >>> int(state.head["draw"]), state["scale"].tolist(), int(State.of(state.copy()).head["key"])
        (0, [1.0, 1.0], 1)
    """

    block: NDArray[np.uint8]
    head: Any
    views: dict[str, Array]

    @classmethod
    def of(cls, block: NDArray[np.uint8]) -> State:
        """The state that a block of bytes holds.

        Raises:
            ValueError: it holds none, or one of another version.
        """
        dtype = np.dtype([(name, _DTYPES[kind]) for name, kind in HEADER.items()])
        if block.nbytes < dtype.itemsize:
            raise ValueError("it is too short")
        head = block[: dtype.itemsize].view(dtype)[0]
        if head["version"] != VERSION:
            raise ValueError(f"it is of version {head['version']}, and not of {VERSION}")
        if head["bytes"] != block.nbytes:
            raise ValueError(f"it has {block.nbytes} bytes instead of {head['bytes']}")
        doubles, at, views = block[dtype.itemsize :].view(np.float64), 0, {}
        for name, shape in shapes(*(int(head[name]) for name in ("dim", "metric", "rank", "held"))).items():
            count = int(np.prod(shape))
            views[name] = doubles[at : at + count].reshape(shape)
            at += count
        return cls(block, head, views)

    @classmethod
    def create(
        cls, position: Array, value: float, gradient: Array, metric: Metric | None = None, *, held: Array | None = None,
        **fields: float,
    ) -> State:  # fmt: skip
        """A chain before its first draw at `position`; `fields` are those of the header.

        Without a `metric` the warm-up adapts a diagonal one.
        """
        n, held = len(position), np.empty(0) if held is None else held
        state = cls._blank(n, Metric.unit(n) if metric is None else metric, len(held))
        warmup = int(fields.get("num_warmup", 0))
        usual = {
            "version": VERSION,
            "dim": n,
            "value": value,
            "step_size": 0.1,
            "search": 1,
            "adapts_metric": metric is None,
            "early": int(0.3 * warmup),
            "late": warmup - int(0.15 * warmup),
            "max_depth": 10,
            "max_halvings": 10,
            "max_steps": 1024,
            "target": 0.8,
            "length": np.pi / 2,
            "tolerance": 1.0,
        }
        for name, number in {**usual, **fields}.items():
            state.head[name] = number
        state["position"][:], state["gradient"][:], state["held"][:] = position, gradient, held
        return state

    @classmethod
    def _blank(cls, n: int, metric: Metric, held: int) -> State:
        size = 8 * (len(HEADER) + sum(int(np.prod(shape)) for shape in shapes(n, metric.kind, metric.rank, held).values()))
        block = np.zeros(size, dtype=np.uint8)
        numbers = block[: 8 * len(HEADER)].view(np.int64)
        names = list(HEADER)
        settled = {"version": VERSION, "bytes": size, "dim": n, "metric": metric.kind, "rank": metric.rank, "held": held}
        for name, number in settled.items():
            numbers[names.index(name)] = number
        state = cls.of(block)
        state["scale"][:] = metric.scale
        state["vectors"][:] = metric.vectors
        state["factors"][:] = metric.factors
        return state

    def with_metric(self, metric: Metric, *, adapts: bool = False) -> State:
        """The same chain with another metric, which the kernel adapts further or not; its step size is searched again."""
        state = State._blank(int(self.head["dim"]), metric, int(self.head["held"]))
        for name in HEADER:
            if name not in ("bytes", "metric", "rank"):
                state.head[name] = self.head[name]
        for name in ("position", "gradient", "held"):
            state[name][:] = self[name]
        state.head["adapts_metric"], state.head["search"] = adapts, 1
        state.head["old_count"] = state.head["new_count"] = 0  # of its windows, which are empty
        return state

    def __getitem__(self, name: str) -> Array:
        return self.views[name]

    @property
    def point(self) -> Array:
        """All coordinates of the density: those that move, then those that are held."""
        return np.concatenate([self["position"], self["held"]])

    @property
    def metric(self) -> Metric:
        """The metric, as views of the block."""
        return Metric(int(self.head["metric"]), self["scale"], self["vectors"], self["factors"])

    def copy(self) -> NDArray[np.uint8]:
        """The bytes, copied."""
        return self.block.copy()
