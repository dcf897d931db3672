"""`report`: what became of each parameter of a program."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum.common.tables import Table, html_table
from sursum.common.taint import Provenance
from sursum.core.calling import run_program
from sursum.core.messages import Deterministic, Param, Sample, Site
from sursum.core.runtime import Messenger, handler, perform, required
from sursum.distributions.fluent import Independent
from sursum.distributions.randomness import drawing_from
from sursum.handlers import trace

COLUMNS = ("parameter", "is", "prior", "shape", "count", "why")
_SHOWN = 4


@dataclass(frozen=True)
class Row:
    """What became of one parameter.

    `state` is "lifted" (to a latent site), "observed" (lifted, and given data), "hyper" (a site that a prior draws) or
    "held" (it stayed a parameter); `why` says why it stayed. `prior` is None if there is none.
    """

    name: str
    state: str
    prior: str | None
    shape: tuple[int, ...]
    count: int
    why: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        shape = " × ".join(map(str, self.shape)) or "scalar"
        return self.name, self.state, self.prior or "", shape, f"{self.count:,}", self.why


@dataclass(frozen=True)
class Report:
    """The table of `report`: to be printed, or read as `rows`."""

    rows: tuple[Row, ...]

    def count(self, state: str) -> int:
        """The number of scalars in this state: "lifted", "hyper", "observed" or "held"."""
        return sum(row.count for row in self.rows if row.state == state)

    def __str__(self) -> str:
        if not self.rows:
            return self._total()
        return f"{Table([COLUMNS, *(row.cells for row in self.rows)])}\n\n{self._total()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"{html_table(COLUMNS, (row.cells for row in self.rows))}<p>{html.escape(self._total())}</p>"

    def _total(self) -> str:
        if not self.rows:
            return "The program reads no parameter."
        hyper = self.count("hyper")
        drawn = f", {hyper:,} drawn by their priors" if hyper else ""
        return f"{self.count('lifted'):,} numbers lifted{drawn}; {self.count('held'):,} held at their value."


def report(program: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Report:
    """What `lift` made of each parameter of a program: the prior it was given, or why it stayed a parameter.

    The program is run once, with draws from a separate generator.

    Args:
        program: the lifted program.
        args, kwargs: its arguments.

    Returns:
        A table to be printed in a terminal or shown in a notebook.

    Raises:
        Exception: any exception of the program.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
        >>> lifted = su.lift(net, {"2.*": su.priors.fan_in()})
        >>> su.report(lifted, torch.ones(1, 2))
        parameter  is      prior                        shape  count  why
        ─────────  ──────  ───────────────────────────  ─────  ─────  ─────────────────
        0.weight   held                                 3 × 2  6      no prior names it
        0.bias     held                                 3      3      no prior names it
        2.weight   lifted  Normal(loc=0, scale=0.5774)  1 × 3  3
        2.bias     lifted  Normal(loc=0, scale=1)       1      1
        <BLANKLINE>
        4 numbers lifted; 9 held at their value.
    """
    with drawing_from(torch.Generator().manual_seed(0)), Provenance() as seen, _Marks(seen=seen), trace() as recorder:
        run_program(program, args, kwargs)
        # Inside, since some distributions compute an argument on access.
        rows = [row for site in recorder.trace.values() for row in _rows(site, seen)]
    return Report(tuple(rows))


@handler
class _Marks(Messenger):
    """Marks every latent value with its name, so that priors show what they depend on."""

    seen: Provenance = required()

    def handle(self, site: Site) -> Any:
        out = perform(site)
        if isinstance(out, Sample) and not out.is_observed and isinstance(out.value, Tensor):
            out = out.but(value=out.value.clone())
            self.seen.mark(out.value, out.name)
        return out


def _rows(site: Site, seen: Provenance) -> Iterator[Row]:
    if not isinstance(site.value, Tensor):
        return
    shape, count = tuple(site.value.shape), site.value.numel()
    if isinstance(site, Param):
        yield Row(site.name, "held", None, shape, count, _why_held(site))
    elif isinstance(site, Sample) and site.param is not None:
        yield Row(site.name, "observed" if site.is_observed else "lifted", _describe(site.fn, seen), shape, count)
    elif isinstance(site, Deterministic) and site.param is not None:
        yield Row(site.name, "lifted", "reparameterised", shape, count)
    elif isinstance(site, Sample) and not site.is_observed and not site.infer.get("is_subsample"):
        yield Row(site.name, "hyper", _describe(site.fn, seen), shape, count)


def _why_held(site: Param) -> str:
    if site.frozen:
        return "frozen (requires_grad=False)"
    own = site.initial if isinstance(site.initial, Tensor) else None
    if own is not None and site.value is not own and site.owner is None:
        return "no prior names it; a handler gives its value"
    return "no prior names it"


def _describe(fn: Any, seen: Provenance) -> str:
    """A prior in a few words: its family and arguments; an argument that is equal for all elements is one number."""
    if not isinstance(fn, Distribution):
        return f"a function, {fn!r}"
    while isinstance(fn, Independent):
        fn = fn.base_dist
    # The alternative form of an argument (probs for logits) is a lazy property, and not shown.
    names = [n for n in fn.arg_constraints if n in vars(fn) or isinstance(getattr(type(fn), n, None), property)]
    arguments = ", ".join(f"{name}={_argument(getattr(fn, name), seen)}" for name in names)
    return f"{type(fn).__name__}({arguments})"


def _argument(value: Any, seen: Provenance) -> str:
    if not isinstance(value, Tensor):
        return str(value)
    reached = sorted(seen.of(value))
    if reached:
        return f"f({', '.join(reached)})"
    flat = value.detach().reshape(-1)
    if flat.numel() and bool((flat == flat[0]).all()):
        return f"{float(flat[0]):.{_SHOWN}g}"
    return f"tensor {tuple(value.shape)}"
