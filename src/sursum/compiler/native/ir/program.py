"""The loop program: what lies between ATen operators and C.

A *value* is a flat run of doubles, integers or bools. A *stage* fills (part of) one: an index expression that is
computed for every iteration of a loop nest, or a call of a C function on whole arrays. Views do not exist here: they
are affine indices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from sursum.compiler.graph.assumption import Assumption
from sursum.compiler.graph.graph import Where
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr, Exprs
from sursum.compiler.show import show_program


@dataclass(frozen=True, slots=True)
class Data:
    """A value: how many elements of which kind ("f", "i", "b"), and the shape that it had in the program."""

    numel: int
    kind: str
    shape: tuple[int, ...]


@dataclass(slots=True, eq=False)
class Loop:
    """For every iteration of `shape`: value[store] = expr.

    `mode` is "set", "add" (accumulate; `indices` and `strides` move the place: scatter), "put" (write at such a
    place), or one of `ops.REDUCTIONS` over the dimensions `reduced`, along which `store` does not move.
    """

    value: int
    shape: tuple[int, ...]
    store: Affine
    expr: Expr
    mode: str
    where: Where
    reduced: frozenset[int] = frozenset()
    indices: tuple[Expr, ...] = ()
    strides: tuple[int, ...] = ()
    after: tuple[int, ...] = ()  # values whose stages must have run: those of an earlier part, readers of an old version
    joint: tuple[int, Expr] | None = None  # a sign, and e of which the sum also has log1p(e): see `joint`

    def exprs(self) -> tuple[Expr, ...]:
        """Everything that an iteration evaluates."""
        return (self.expr, *self.indices, *(self.joint[1:] if self.joint else ()))

    def reads(self) -> tuple[int, ...]:
        """The values that it loads."""
        if not self.indices and self.joint is None:
            return self.expr.reads()
        return tuple([value for expr in self.exprs() for value in expr.reads()])


@dataclass(frozen=True, slots=True)
class Operand:
    """An array argument of a call: a value from one element on."""

    value: int
    offset: int
    written: bool


@dataclass(slots=True, eq=False)
class Call:
    """A C function applied to whole arrays: `function(args)`. A value that it writes is written by it whole, or was
    initialised by the stages that stand before it."""

    value: int
    function: str
    args: tuple[Operand | int | float | str, ...]
    where: Where
    after: tuple[int, ...] = ()
    also: tuple[int, ...] = ()  # further values that it writes
    checked: bool = False  # whether it gives other than 0 where a guard fails

    def reads(self) -> Iterator[int]:
        """The values that it is given, other than to fill."""
        for arg in self.args:
            if isinstance(arg, Operand) and not arg.written:
                yield arg.value


Stage = Loop | Call
Compute = Callable[[Mapping[int, Tensor]], Tensor]


@dataclass(slots=True)
class LoopProgram:
    """Stages in an order in which they may run, and what they are made of. `plan`, once they are grouped, says how they run."""

    title: str
    dim: int
    input: int
    data: dict[int, Data]
    constants: dict[int, int] = field(default_factory=dict)  # value → place in `arrays`
    arrays: list[Tensor] = field(default_factory=list)
    computed: dict[int, Compute] = field(default_factory=dict)  # place in `arrays` → of the graph's constants
    assumed: list[Assumption] = field(default_factory=list)  # what was used of their numbers
    exprs: Exprs = field(default_factory=Exprs)
    stages: list[Stage] = field(default_factory=list)
    guards: list[tuple[int, Affine, str, Where]] = field(default_factory=list)  # scalar value, index, kind
    outputs: list[int] = field(default_factory=list)
    blas: list[str] = field(default_factory=list)
    in_place: dict[int, int] = field(default_factory=dict)  # new version → old version whose memory it takes over
    parameters: dict[int, str] = field(default_factory=dict)  # values that a step is handed, and their names in C
    loops: list[Recurrent] = field(default_factory=list)
    vector: frozenset[str] = frozenset()  # the functions that have a vector form where this is to run
    plan: LoopPlan | None = None
    next: int = 0  # the number of the next value

    def fresh(self) -> int:
        """A number for a new value."""
        self.next += 1
        return self.next - 1

    def new(self, numel: int, kind: str, shape: tuple[int, ...]) -> int:
        """A new value."""
        value = self.fresh()
        self.data[value] = Data(numel, kind, shape)
        return value

    def constant(self, value: int, array: Tensor, kind: str, shape: tuple[int, ...], computed: Compute | None = None) -> int:
        """Makes a value one of the instance's arrays: `array`, flat. Without a way to compute it of the graph's constants it is
        the same for all of which the assumptions hold."""
        self.data[value] = Data(array.numel(), kind, shape)
        if computed is not None:
            self.computed[len(self.arrays)] = computed
        self.constants[value] = len(self.arrays)
        self.arrays.append(array)
        return value

    def derived(self, value: int, of: int, make: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> int:
        """Makes a value an array of floats that `make` computes of the array `of`."""
        place = self.constants[of]
        before = self.computed.get(place)
        computed = None if before is None else lambda constants: make(before(constants))
        return self.constant(value, make(self.arrays[place]), "f", shape, computed)

    def drop_unread_constants(self) -> None:
        """Leaves out the arrays that no stage reads."""
        used = {value for stage in self.stages for value in stage.reads()}
        self.constants = {value: place for value, place in self.constants.items() if value in used}

    def __str__(self) -> str:
        return show_program(self)

    @property
    def planned(self) -> LoopPlan:
        """How the stages run.

        Raises:
            ValueError: they have not been grouped.
        """
        if self.plan is None:
            raise ValueError("the stages have not been grouped")
        return self.plan


@dataclass(frozen=True, slots=True)
class Panel:
    """A stage that multiplies the elements of a matrix, laid out in panels, by what varies with one of its dimensions."""

    matrix: Expr
    other: Expr


@dataclass(slots=True)
class Group:
    """Stages that run in one loop nest over `shape` (or straight on, where that is empty), or one call.

    `row` is the dimension that a tile cuts into blocks: see `tile`. `jammed` are the stages of several rows at a time: see
    `jam`; `panels` what each stage multiplies: see `panel`.
    """

    shape: tuple[int, ...]
    serial: bool
    stages: list[Stage] = field(default_factory=list)
    jammed: list[Loop] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    row: int = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """How the rows of a nest lie in a value: `step` elements from one to the next, and the whole of them again after `period`
    elements, if it is not 0: a matrix row by row is (columns, 0), and column by column (1, rows).

    Example:
        >>> Rows(1, 1000).shrunk(Affine(0, (1000, 1)), 80)  # three columns of 1,000 rows, of which there are 80
        Affine(offset=0, coefs=(80, 1))
    """

    step: int
    period: int

    def window(self, affine: Affine, shape: Sequence[int], row: int) -> tuple[int, int] | None:
        """The lowest and the highest position of the first row, from the start of a period; None where the dimension `row`
        does not walk through these rows."""
        if affine.coefs[row] != self.step:
            return None
        steps = [0 if d == row or self._again(c) else c for d, c in enumerate(affine.coefs)]
        offset = affine.offset % self.period if self.period else affine.offset
        low, high = Affine(offset, tuple(steps)).span(shape)
        if self.period and not 0 <= low <= high < self.period - self.step * (shape[row] - 1):
            return None
        return low, high

    def shrunk(self, affine: Affine, rows: int) -> Affine:
        """The index into a value that has only this many rows."""
        if not self.period:
            return affine
        again = self.step * rows
        coefs = tuple(c // self.period * again if self._again(c) else c for c in affine.coefs)
        return Affine(affine.offset // self.period * again + affine.offset % self.period, coefs)

    def _again(self, coef: int) -> bool:
        return bool(self.period) and coef % self.period == 0


@dataclass(frozen=True, slots=True)
class Block:
    """How a value of which memory holds `count` rows at a time lies there, and how many elements that are."""

    rows: Rows
    count: int
    numel: int


@dataclass(slots=True)
class LoopPlan:
    """Groups in order; which values live only inside one iteration of one; the groups that write and read the rest.

    `tiles` are runs of groups, (first, last, rows of a block), that go over their rows together: see `tile`. `blocks` are the
    values of which memory holds one block of rows: see `contract`.
    """

    groups: list[Group]
    local: set[int]
    first: dict[int, int]
    last: dict[int, int]
    inside: dict[int, int]  # value made by one plain loop → its group
    tiles: list[tuple[int, int, int]] = field(default_factory=list)
    blocks: dict[int, Block] = field(default_factory=dict)


@dataclass(slots=True)
class Recurrent:
    """A loop in time that a `Call` runs: a program for one step, which makes the next row of a table of `width` doubles a
    row out of the last one, and a row of `kept` doubles of another table. `outputs` are the places of the step's outputs,
    those from `width` on in the other table; `carry` is the parameter that is the row before, `rows` those that move on by
    that number of elements in each step, `fixed` those that do not."""

    call: Call
    program: LoopProgram
    length: int
    reverse: bool
    width: int
    kept: int
    outputs: list[int]
    carry: int
    rows: list[tuple[int, int]]
    fixed: list[int]
