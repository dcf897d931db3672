"""`report`: what became of each parameter of a program."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.common.tables import Table, html_table
from sursum.common.taint import Provenance
from sursum.core.calling import Program, run_program
from sursum.core.messages import Deterministic, Param, Sample, Site
from sursum.core.runtime import Messenger, handler, perform, required
from sursum.distributions.fluent import Independent
from sursum.distributions.randomness import drawing_from
from sursum.distributions.supports import support_of
from sursum.errors import PredictionError
from sursum.handlers import trace
from sursum.show.cost import Cost, measure_cost
from sursum.show.improper import StartImproper
from sursum.show.prior_predictive import PriorPredictive, expect

COLUMNS = ("parameter", "is", "prior", "support", "now", "shape", "count", "why")
_SHOWN = 4


@dataclass(frozen=True)
class Row:
    """What became of one parameter.

    `state` is "lifted" (to a latent site), "observed" (lifted, and given data), "hyper" (a site that a prior draws) or
    "held" (it stayed a parameter); `why` says why it stayed. `prior` is None if there is none. `support` is where its values
    lie, and `now` the program's own value, with its largest distance from the mean of the prior in the prior's sds, `distance`.
    """

    name: str
    state: str
    prior: str | None
    shape: tuple[int, ...]
    count: int
    why: str = ""
    support: str = ""
    now: str = ""
    distance: float | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        shape = " × ".join(map(str, self.shape)) or "scalar"
        away = "" if self.distance is None else f" ({self.distance:.2g} sd)"
        return self.name, self.state, self.prior or "", self.support, self.now + away, shape, f"{self.count:,}", self.why


@dataclass(frozen=True)
class Report:
    """The table of `report`: to be printed, or read as `rows`.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     rate = su.param("rate", torch.tensor(1.0))
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Bernoulli(logits=rate), obs=y)
        >>> report = su.report(su.lift(model, {"rate": dist.Normal(0.0, 100.0)}), torch.ones(5))
        >>> found = report.prior_predictive()
        >>> found.sites["y"].decided > 0.9
        True
    """

    rows: tuple[Row, ...]
    program: Program | None = field(default=None, repr=False, compare=False)

    def cost(self, *, seed: int = 0) -> Cost:
        """What sampling the program takes, by a pilot of four short chains: microseconds of a leapfrog step, steps of a draw,
        a forecast of the time to an effective sample size, and memory.

        Raises:
            SursumError: the program cannot be sampled.
        """
        return measure_cost(self._program(), seed)

    def prior_predictive(self, *, num_samples: int = 500, seed: int = 0) -> PriorPredictive:
        """What the program predicts before it sees the data, beside the data, with warnings where that is absurd: 90 % of the
        probabilities within 0.01 of 0 or 1, predictions that are not numbers, or a spread of 100 times that of the data.

        Raises:
            PredictionError: the program observes nothing.
        """
        return expect(self._program(), num_samples, seed)

    def _program(self) -> Program:
        if self.program is None:
            raise PredictionError("this report has no program: it was unpickled. Call su.report again.")
        return self.program

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
        >>> _ = [torch.nn.init.constant_(parameter, 0.1) for parameter in net.parameters()]
        >>> lifted = su.lift(net, {"2.*": su.priors.fan_in()})
        >>> su.report(lifted, torch.ones(1, 2))
        parameter  is      prior                        support  now            shape  count  why
        ─────────  ──────  ───────────────────────────  ───────  ─────────────  ─────  ─────  ─────────────────
        0.weight   held                                 real     0.1            3 × 2  6      no prior names it
        0.bias     held                                 real     0.1            3      3      no prior names it
        2.weight   lifted  Normal(loc=0, scale=0.5774)  real     0.1 (0.17 sd)  1 × 3  3
        2.bias     lifted  Normal(loc=0, scale=1)       real     0.1 (0.1 sd)   1      1
        <BLANKLINE>
        4 numbers lifted; 9 held at their value.
    """
    with (
        drawing_from(torch.Generator().manual_seed(0)),
        Provenance() as seen,
        StartImproper(),
        _Marks(seen=seen),
        trace() as recorder,
    ):
        run_program(program, args, kwargs)
        # Inside, since some distributions compute an argument on access.
        sites = recorder.trace.values()
        derived = {site.param.stands_for for site in sites if isinstance(site, Sample) and site.param is not None}
        rows = [row for site in sites if site.name not in derived for row in _rows(site, seen)]
    return Report(tuple(rows), Program(program, args, kwargs))


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
        yield Row(site.name, "held", None, shape, count, _why_held(site), constraint_text(site.constraint), _values(site.value))
    elif isinstance(site, Sample) and site.param is not None:
        state = "observed" if site.is_observed else "lifted"
        init = site.param.init
        now = "" if init is None else _values(init)
        away = None if init is None or site.is_observed else _distance(site.fn, init)
        yield Row(site.name, state, _describe(site.fn, seen), shape, count, "", _support(site.fn), now, away)
    elif isinstance(site, Deterministic) and site.param is not None:
        yield Row(site.name, "lifted", "reparameterised", shape, count)
    elif isinstance(site, Sample) and not site.is_observed and not site.infer.get("is_subsample"):
        yield Row(site.name, "hyper", _describe(site.fn, seen), shape, count, support=_support(site.fn))


def _why_held(site: Param) -> str:
    if site.frozen:
        return "frozen (requires_grad=False)"
    own = site.initial if isinstance(site.initial, Tensor) else None
    if own is not None and site.value is not own and site.owner is None:
        return "no prior names it; a handler gives its value"
    return "no prior names it"


def _values(value: Tensor) -> str:
    """A value, or the smallest and the largest of several."""
    flat = value.detach().reshape(-1)
    if not flat.numel():
        return ""
    low, high = (f"{float(one):.3g}" for one in (flat.min(), flat.max()))
    return low if low == high else f"{low} … {high}"


def _distance(fn: Any, value: Tensor) -> float | None:
    """The largest distance of `value` from the prior's mean in its sds; None where it has none."""
    try:
        found = ((value.detach() - fn.mean) / fn.stddev).abs().max()
    except (NotImplementedError, AttributeError, RuntimeError):
        return None
    return float(found) if bool(torch.isfinite(found)) else None


def _support(fn: Any) -> str:
    try:
        return constraint_text(support_of(fn))
    except (NotImplementedError, AttributeError):
        return ""


def constraint_text(constraint: Any) -> str:
    """A constraint in a word: "real", "> 0", "[0, 1]", "simplex".

    Example:
        >>> from torch.distributions import constraints as c
        >>> [constraint_text(one) for one in (c.real, c.positive, c.unit_interval, c.independent(c.simplex, 1))]
        ['real', '> 0', '[0, 1]', 'simplex']
    """
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    low, high = (getattr(constraint, name, None) for name in ("lower_bound", "upper_bound"))
    bounds = [None if one is None else f"{float(one):.4g}" for one in (low, high) if not _many(one)]
    if len(bounds) == 2 and any(bounds):
        below, above = bounds
        if below is None:
            return f"{'≤' if isinstance(constraint, constraints.less_than_eq) else '<'} {above}"  # type: ignore[attr-defined]
        if above is None:
            return f"{'≥' if isinstance(constraint, constraints.greater_than_eq) else '>'} {below}"
        return f"[{below}, {above}]"
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(constraint).__name__.strip("_"))
    return words.lower()


def _many(bound: Any) -> bool:
    return isinstance(bound, Tensor) and bound.numel() != 1


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
