"""`trace`: record every site of an execution."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from sursum.core.calling import run_program
from sursum.core.in_place import changed_in_place_error, version
from sursum.core.messages import Param, Sample, Site, Step
from sursum.core.runtime import Messenger, P, R, handler, perform
from sursum.core.scope import own_steps
from sursum.core.time_axis import Ledger, keep, stack_steps
from sursum.core.trace import Trace
from sursum.errors import OptionError


@handler
class trace(Messenger[P, R]):
    """Record the sites that a program reaches, as they come back from the handlers outside.

    The steps of a site in a scan are one site, whose value and log density have a leading time dimension.

    ``trace(model).get_trace(*args)`` returns the `Trace`; in ``with trace() as t:`` it is ``t.trace``.

    Raises:
        DuplicateSiteError: two sites with one name.
        SiteError: the program changes the value of a site in place.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> with su.poutine.trace() as t:
        ...     z = su.sample("z", dist.Normal(0.0, 1.0))
        >>> bool(t.trace["z"].value == z)
        True
    """

    trace: Trace = field(init=False, repr=False, default_factory=Trace)

    steps: Ledger = field(init=False, repr=False, default_factory=Ledger)
    versions: dict[str, int | None] = field(init=False, repr=False, default_factory=dict)

    def handle(self, site: Site) -> Any:
        out = perform(site)
        self._add(out)
        if isinstance(out, Sample) and not own_steps(out):
            self.versions.setdefault(out.name, version(out.value))
        return out

    def finish(self) -> None:
        for name, before in self.versions.items():
            site = self.trace.nodes[name]
            if version(site.value) != before:
                raise changed_in_place_error(site)

    def _add(self, site: Site) -> None:
        steps = own_steps(site)
        if steps and not isinstance(site, Param):
            self.steps.add(site.name, steps[-1], keep(site, steps[-1]))
        else:
            self.trace.add(site.but(plates=tuple(frame for frame in site.plates if frame not in steps)) if steps else site)

    def leave(self, step: Step) -> None:
        for sites in self.steps.leave(step):
            self._add(stack_steps(sites, step))

    def get_trace(self, *args: P.args, **kwargs: P.kwargs) -> Trace:
        """The trace of one execution with these arguments."""
        if self.fn is None:
            raise OptionError("this trace has no program: write trace(model).get_trace(…)")
        with self as running:
            result = run_program(self.fn, args, kwargs)
        return Trace(running.trace.nodes, result)
