"""The recorder: a dispatch mode that turns the operators of one run into a `Graph`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sursum.common.precision import Computed
from sursum.common.torch_private import (
    OpOverload,
    current_autograd_node,
    next_sequence_number,
    without_dispatch_modes,
)
from sursum.common.user_frame import Lines
from sursum.compiler.capture import mask_indexing, refusals
from sursum.compiler.capture.borrowed import Borrowed
from sursum.compiler.capture.branches import NOTHING_KNOWN, Answers, Doubt
from sursum.compiler.capture.decompositions import Decomposition, decomposition
from sursum.compiler.capture.derivatives import exact
from sursum.compiler.capture.kept_storage import KeptStorage
from sursum.compiler.capture.operators import Operator, results_of
from sursum.compiler.capture.same import Computations
from sursum.compiler.capture.where import where_of
from sursum.compiler.graph.graph import Graph, Guard, Node, Ref, Value, Where, Write
from sursum.errors import CaptureError

aten = torch.ops.aten

_NOWHERE = Where(None, None)


class Recorder(Computed):
    """Records the operators that run while it is active, in double precision, including conversions.

    A storage is identified by its address, which is not used again for another while the recorder is there.
    `input` is traced: values computed from it must not leave torch. A tensor from outside is a constant:
    the parts that are read are copied when the run has ended.

    Arguments:
        input: q, a float64 vector; None where there are others, which are entered.
        current_site: asked at every operator for the site that is being scored.
        answers: what is known of the program's looks at checks, or is to be found out by this run.
    """

    passed_by = False
    supports_higher_order_operators = False

    def __init__(self, input: Tensor | None, current_site: Callable[[], Where], answers: Answers = NOTHING_KNOWN) -> None:
        super().__init__()
        self.in_program = True  # False while autograd alone is running: no frame is the program's then
        self.failure: CaptureError | None = None
        self._current_site = current_site
        self.doubts: list[Doubt] = []
        self._answers = answers
        self._looks = 0  # number of checks so far
        self._failed = False  # a check has: what Python looks at then is for the message
        self._lines = Lines(within=sys._getframe(1).f_code)
        self._operators: dict[int, tuple[Operator, Decomposition | None, OpOverload]] = {}  # by id: hashing them takes Python
        self._values: dict[int, Value] = {}
        self._newest: dict[int, Value] = {}  # address of a storage → its newest value
        self._storages: dict[int, KeptStorage] = {}  # value → its storage
        self._outside: set[int] = set()  # values that lie in memory from outside
        self._borrowed = Borrowed()
        self._traced: set[int] = set()
        self._constants: dict[int, Tensor] = {}
        self._computations = Computations(self._fixed)
        self._maker: dict[int, str] = {}  # value → name of the operator that made it
        self._nodes: list[Node] = []
        self._guards: list[Guard] = []
        self._forward: dict[int, Where] = {}  # autograd's sequence number → the operator that it differentiates
        self._false_check: Where | None = None
        self._of_program = 0, 0  # how many operators, and guards, are not autograd's
        self._input = -1
        if input is not None:
            self._input = self.enter(input)
            self._outside.add(self._input)

    def enter(self, tensor: Tensor) -> int:
        """Makes a tensor a value that is traced."""
        value = self._new_value(tensor, "the density", _NOWHERE).id
        self._traced.add(value)
        return value

    def traces(self, tensor: Tensor) -> bool:
        """Whether a tensor is computed from the input."""
        value = self._known(tensor)
        return value is not None and value.id in self._traced

    def end_program(self, outputs: Sequence[Tensor]) -> None:
        """Called when the program has run and returned `outputs`: what follows belongs to autograd."""
        self._ends(outputs)
        self.in_program = False
        self._of_program = len(self._nodes), len(self._guards)

    def forward(self, graph: Graph) -> Graph | None:
        """`graph`, which is what was recorded, without autograd's part; None where that decides what is copied of the data."""
        nodes, guards = self._of_program
        return replace(graph, nodes=graph.nodes[:nodes], guards=graph.guards[:guards]) if self._borrowed.is_small else None

    def _ends(self, outputs: Sequence[Tensor]) -> tuple[Ref, ...]:
        reads: list[Ref] = []
        density = Operator.of(aten.alias.default)
        return tuple([self._refs(output, reads, density, _NOWHERE) for output in outputs])

    def graph(self, outputs: Sequence[Tensor]) -> Graph:
        """The graph of what was recorded, with these outputs."""
        if self.failure is not None:  # the program may have swallowed it
            raise self.failure
        if self._false_check is not None:
            raise refusals.branch("a check that failed, and after which the program went on,", self._false_check)
        refs = self._ends(outputs)
        self._borrowed.read([*refs, *(guard.ref for guard in self._guards)])
        with without_dispatch_modes():  # data as they are, wherever this is run
            return self._borrowed.copied(
                Graph(
                    values=self._values,
                    input=self._input,
                    constants=self._constants,
                    nodes=tuple(self._nodes),
                    guards=tuple(self._guards),
                    outputs=refs,
                )
            )

    def _fixed(self, ref: Ref) -> Tensor | None:
        """A tensor that no operator makes."""
        constant = self._constants.get(ref.value)
        return self._borrowed.window(ref) if constant is None else constant.as_strided(ref.size, ref.stride, ref.offset)

    def call(self, op: Any, args: tuple[Any, ...]) -> Any:
        """Run `op`, which is not an operator of torch, and record it as one."""
        with without_dispatch_modes():
            return self.run(op, args, {})

    def run(self, op: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The result of an operator, recorded."""
        try:
            return self._record(op, exact(op, args), kwargs)
        except CaptureError as error:
            self.failure = self.failure or error
            raise

    def _record(self, op: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        facts, parts, _ = self._facts_of(op)
        where = self._where()
        if facts.computes and parts is None:  # as most do
            return self._compute(op, args, kwargs, facts, where)
        if facts.random or facts.batch_norm or facts.rebinds:
            self._refuse(facts, args, kwargs, where)
        if facts.views and parts is None and self._known(args[0]) is not None:
            out = op(*args, **kwargs)
            if self._is_view(out, args[0]):
                return out

        reads: list[Ref] = []
        node_args = tuple([self._refs(item, reads, facts, where) for item in args])
        node_kwargs = {key: self._refs(item, reads, facts, where) for key, item in kwargs.items()}
        traced = facts.draws(args, kwargs) or not self._traced.isdisjoint([ref.value for ref in reads])

        if facts.checks:
            return self._check(op, args, kwargs, reads[0], where)
        if facts.looks and traced:
            return self._look(op, args, kwargs, reads[0], node_args, where)
        dynamic = facts.dynamic
        recorded = op
        if facts.indexes:
            recorded, node_args, dynamic = mask_indexing.remove(
                op, args, node_args, self._traced, lambda tensor: self._constant(tensor, facts.name, where)
            )
        if dynamic and traced and not self._failed:
            raise refusals.dynamic_shape(facts.name, where)

        if parts is not None and traced and not self._failed:
            found = self._take_apart(parts, args, kwargs)
            if found is not NotImplemented:
                return found

        windows = facts.windows(node_args, node_kwargs) if facts.written else []
        if not self._outside.isdisjoint([window.value for window in windows]):
            raise refusals.outside_write(facts.name, where)
        out = op(*args, **kwargs)
        writes = self._writes(windows, traced, facts.name, where) if windows else ()
        outputs: list[Ref | None] = []
        computes = bool(writes)
        for result in results_of(out):
            if not isinstance(result, Tensor):
                outputs.append(None)
                continue
            value = self._known(result)
            if value is not None:
                outputs.append(self._window(result, value, facts.name, where) if writes else None)
            elif dynamic:  # its shape holds for the data at hand only: the result is a part of the data
                self._constant(result, facts.name, where)
            else:
                computes = True
                outputs.append(self._result(result, facts.name, where, traced))
        if computes:
            self._borrowed.read(reads)
            node = Node(recorded, node_args, node_kwargs, tuple(outputs), writes, where)
            self._nodes.append(node)
            self._computations.add(node)
        return out

    def _compute(self, op: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], facts: Operator, where: Where) -> Any:
        """The results of an operator that does nothing else, recorded."""
        reads: list[Ref] = []
        node_args = tuple([self._refs(item, reads, facts, where) for item in args])
        node_kwargs = {key: self._refs(item, reads, facts, where) for key, item in kwargs.items()} if kwargs else kwargs
        traced = not self._traced.isdisjoint([ref.value for ref in reads])
        out = op(*args, **kwargs)
        results = (out,) if type(out) is Tensor else results_of(out)
        outputs = tuple([self._result(result, facts.name, where, traced) for result in results])
        if any(outputs):
            self._borrowed.read(reads)
            node = Node(op, node_args, node_kwargs, outputs, (), where)
            self._nodes.append(node)
            self._computations.add(node)
        return out

    def _result(self, result: Any, name: str, where: Where, traced: bool) -> Ref | None:
        """The window on a new value; None for what is no tensor, and for a tensor whose storage is known."""
        if not isinstance(result, Tensor) or self._known(result) is not None:
            return None
        value = self._new_value(result, name, where)
        self._maker[value.id] = name
        if traced:
            self._traced.add(value.id)
        return self._window(result, value, name, where)

    def _facts_of(self, op: OpOverload) -> tuple[Operator, Decomposition | None, OpOverload]:
        """What there is to know about an operator, and what it is made of where that is recorded in its place."""
        known = self._operators.get(id(op))
        if known is None:
            known = self._operators[id(op)] = Operator.of(op), self._decomposition(op), op
        return known

    def _decomposition(self, op: OpOverload) -> Decomposition | None:
        return decomposition(op)

    def _take_apart(self, parts: Decomposition, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The result of an operator, recorded by its decomposition; `NotImplemented`, with nothing recorded, if that fails."""
        counts = len(self._nodes), len(self._guards), len(self.doubts)
        state = self._looks, self._failed, self._false_check, self.failure
        try:
            with self:
                return parts(*args, **kwargs)
        except Exception:  # the operator itself is recorded, or says what is wrong with its arguments
            for items, count in zip((self._nodes, self._guards, self.doubts), counts, strict=True):
                del items[count:]  # type: ignore[attr-defined]
            self._looks, self._failed, self._false_check, self.failure = state
            return NotImplemented

    def _is_view(self, out: Any, viewed: Tensor) -> bool:
        """Whether the results are windows on a known storage, of its dtype: nothing was computed."""
        return all(
            isinstance(result, Tensor) and result.dtype is viewed.dtype and self._known(result) is not None
            for result in (results_of(out) if isinstance(out, (list, tuple)) else (out,))
        )

    def _refuse(self, facts: Operator, args: Sequence[Any], kwargs: Mapping[str, Any], where: Where) -> None:
        """Raise the error for an operator that a density must not use."""
        if facts.draws(args, kwargs):
            raise refusals.randomness(facts.name, where)
        if facts.updates_statistics(args, kwargs):
            raise refusals.batch_norm(facts.name, where)
        if facts.rebinds:
            raise refusals.rebinding(facts.name, where)

    def _where(self) -> Where:
        """The site and line of the running operator; in a backward pass, those of the operator it differentiates."""
        differentiated = current_autograd_node()
        if differentiated is not None:
            return self._forward.get(differentiated._sequence_nr(), _NOWHERE)
        if not self.in_program:
            return _NOWHERE
        site = self._current_site()
        where = site if site.line is not None else where_of(site.site, self._lines.current())
        # Autograd numbers its node of an operator just before the operator runs.
        self._forward.setdefault(next_sequence_number() - 1, where)
        return where

    def _refs(self, item: Any, reads: list[Ref], facts: Operator, where: Where) -> Any:
        """`item`, an argument, with every tensor replaced by a `Ref`; the refs are added to `reads`."""
        if isinstance(item, Tensor):
            value = self._known(item)
            if value is None:
                value = self._constant(item, facts.name, where) if facts.lifts else self._from_outside(item, facts.name, where)
            ref = self._window(item, value, facts.name, where)
            reads.append(ref)
            return ref
        if isinstance(item, (list, tuple)):
            return type(item)([self._refs(part, reads, facts, where) for part in item])
        return item

    def _known(self, tensor: Tensor) -> Value | None:
        """The newest value of the storage of `tensor`; None for an unknown storage."""
        try:
            return self._newest.get(tensor.untyped_storage()._cdata)
        except NotImplementedError:
            return None  # no storage: `_new_value` says why

    def _window(self, tensor: Tensor, value: Value, name: str, where: Where) -> Ref:
        """The window on `value` that a tensor is."""
        dtype = tensor.dtype
        if dtype is not value.dtype:
            raise refusals.reinterpretation(name, value.dtype, dtype, where)
        return Ref(value.id, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()), dtype)

    def _new_value(self, tensor: Tensor, name: str, where: Where) -> Value:
        """A new value: the storage of a tensor that was not seen before."""
        refusals.check_kind(tensor, name, where)
        storage = tensor.untyped_storage()
        return self._version(KeptStorage(storage), storage.nbytes() // tensor.itemsize, tensor.dtype)

    def _version(self, storage: KeptStorage, numel: int, dtype: torch.dtype) -> Value:
        id = len(self._values)
        value = self._values[id] = self._newest[storage.address] = Value(id, numel, dtype)
        self._storages[id] = storage
        return value

    def _constant(self, tensor: Tensor, name: str, where: Where) -> Value:
        """A new value that no operator makes: a copy of the whole storage of `tensor`."""
        refusals.check_not_negated(tensor, name, where)
        value = self._new_value(tensor, name, where)
        self._constants[value.id] = tensor.detach().as_strided((value.numel,), (1,), 0).clone()
        return value

    def _from_outside(self, tensor: Tensor, name: str, where: Where) -> Value:
        """A new value in memory that the program did not create, and must not write to."""
        refusals.check_not_negated(tensor, name, where)
        value = self._new_value(tensor, name, where)
        self._outside.add(value.id)
        self._borrowed.add(value.id, tensor)
        return value

    def _writes(self, windows: Sequence[Ref], traced: bool, name: str, where: Where) -> tuple[Write, ...]:
        """What a call wrote, after it ran, which gives the storages new values."""
        following: dict[int, int] = {}
        for old in dict.fromkeys([window.value for window in windows]):
            value, storage = self._values[old], self._storages[old]
            if storage.nbytes() != value.numel * value.dtype.itemsize:
                raise refusals.rebinding(name, where)
            following[old] = self._version(storage, value.numel, value.dtype).id
            self._maker[following[old]] = name
            if traced or old in self._traced:
                self._traced.add(following[old])
        return tuple([Write(window, following[window.value]) for window in windows])

    def _check(self, op: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any], ref: Ref, where: Where) -> Any:
        """An operator that raises if its argument is invalid: it runs, and becomes a guard."""
        if ref.value not in self._traced:
            return op(*args, **kwargs)
        number = self._question(lambda block: (block, "factor") if block else None, True, where)
        if number in self._answers.idle:
            return op(*args, **kwargs)
        self._guards.append(Guard(ref, "zero" if op is aten._linalg_check_errors.default else "true", where))
        if self._answers.other == number:
            self._failed = True
            raise torch.linalg.LinAlgError("the program is asked what it does where this check fails")
        try:
            return op(*args, **kwargs)
        except Exception:
            self._false_check, self._failed = where, True
            raise

    def _look(
        self,
        op: OpOverload,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        ref: Ref,
        node_args: tuple[Any, ...],
        where: Where,
    ) -> Any:
        """Python reads a traced value: allowed for argument checks, which become guards, and for results that are constant."""
        out = op(*args, **kwargs)
        if self._failed:  # the program is about to raise, and says why
            return out
        maker = self._maker.get(ref.value)
        if op is aten._local_scalar_dense.default and ref.dtype is torch.bool:
            validates = maker in ("aten::all", "aten::any") and self._lines.in_validation()
            if maker == "aten::_is_all_true" or validates:
                return self._answer(bool(out), maker == "aten::any", ref, where)
            if not out and self._computations.is_success(ref):
                self._guards.append(Guard(ref, "zero", where))
                return out
        if out is self._computations.decided(op, node_args):
            return out
        whole = op is aten._local_scalar_dense.default and not ref.dtype.is_floating_point and ref.dtype is not torch.bool
        raise refusals.branch(str(op), where, whole=whole)

    def _answer(self, out: bool, finds_wrong: bool, ref: Ref, where: Where) -> bool:
        """The result of a check: whether everything is valid or, if `finds_wrong`, whether anything is invalid."""
        holds = out is not finds_wrong
        asks = self._looks if finds_wrong or self._lines.in_program() else None
        number = self._question(lambda block: (block, "look") if block and not finds_wrong else asks, holds, where)
        if number in self._answers.idle:
            return out
        self._guards.append(Guard(ref, "zero" if finds_wrong else "true", where))
        if self._answers.other == number:
            self._failed = holds
            return not out
        if not holds:
            self._failed = True
            if not (self.doubts and self.doubts[-1].number == number):
                self._false_check = where
        return out

    def _question(self, key: Callable[[Any], Any], holds: bool, where: Where) -> int:
        """The number of a check; it is doubted where `key`, given the block that may catch its error, is not None."""
        found = key(self._lines.catching()) if self._answers.doubts else None
        if found is not None:
            self.doubts.append(Doubt(self._looks, holds, where, found))
        self._looks += 1
        return self._looks - 1
