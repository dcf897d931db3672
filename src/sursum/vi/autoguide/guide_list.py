"""`AutoGuideList`: several guides, each for some of the sites."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from sursum.core.calling import refuse_coroutines, run_program
from sursum.core.messages import Sample, Step
from sursum.core.runtime import perform
from sursum.core.scope import open_plates
from sursum.core.trace import Trace
from sursum.errors import GuideError
from sursum.handlers import trace
from sursum.vi.autoguide.guide import AutoGuide, run_answered
from sursum.vi.autoguide.laplace import AutoLaplaceApproximation


class AutoGuideList(AutoGuide):
    """A guide composed of other guides, each for the sites that its own model exposes.

    A part is an automatic guide of the model with the other sites hidden, ``AutoDelta(su.poutine.block(model,
    expose=["s"]))``, or a hand-written program that draws some of the sites. The parameters of the k-th automatic part
    start with ``auto.k``.

    Args:
        model: the program.
        prefix: prefix of the parts' parameters' names.

    Raises:
        GuideError: a site that no part has, or that two have.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> from sursum.infer.autoguide import AutoDelta, AutoNormal
        >>> def model():
        ...     return su.sample("m", dist.Normal(0.0, 1.0)) + su.sample("s", dist.Exponential(1.0))
        >>> guide = AutoGuideList(model)
        >>> guide.append(AutoNormal(su.poutine.block(model, expose=["m"])))
        >>> guide.append(AutoDelta(su.poutine.block(model, expose=["s"])))
        >>> with su.ParamStore() as store:
        ...     _ = guide()
        >>> list(store.unconstrained)
        ['auto.0.loc.m', 'auto.0.scale.m', 'auto.1.loc.s']
    """

    def __init__(self, model: Callable[..., Any], *, prefix: str = "auto") -> None:
        super().__init__(model, prefix=prefix)
        self.parts: list[AutoGuide | Callable[..., Any]] = []

    def append(self, part: AutoGuide | Callable[..., Any]) -> None:
        """Add a part.

        Raises:
            GuideError: the list is already in use, or the part is not a program.
        """
        if self.places:
            raise GuideError("parts cannot be added to an AutoGuideList after it has been used: make a new list.")
        if not callable(part):
            raise GuideError(f"a part of an AutoGuideList is {part!r}, but must be a guide: a callable.")
        if isinstance(part, AutoLaplaceApproximation):
            raise GuideError(
                "AutoLaplaceApproximation uses the curvature of all sites, and cannot be part of an AutoGuideList. Use "
                "AutoMultivariateNormal for these sites."
            )
        refuse_coroutines(part)
        if isinstance(part, AutoGuide):
            part.prefix = f"{self.prefix}.{len(self.parts)}"
        self.parts.append(part)

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Draw every latent site; see `AutoGuide`."""
        self.set_up(args, kwargs)
        outer = open_plates()
        drawn: dict[str, Sample] = {}
        begun: dict[int, Mapping[str, Tensor]] = {}
        for k, part in enumerate(self.parts):
            if isinstance(part, AutoGuide):
                begun[k] = part.begin(outer)
            else:
                with trace() as by_hand:
                    run_program(part, args, kwargs)
                drawn |= by_hand.trace.stochastic

        def answer(site: Sample, steps: tuple[Step, ...], before: Trace) -> Sample:
            if site.name in drawn:
                return site.but(value=drawn[site.name].value)
            k, part = self._owner(site)
            answered: Sample = perform(part.sent(site, begun[k], outer, before))
            return answered

        return run_answered(self.model, args, kwargs, answer)

    def set_up(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        for part in self.parts:
            if isinstance(part, AutoGuide):
                part.set_up(args, kwargs)
        super().set_up(args, kwargs)

    def _owner(self, site: Sample) -> tuple[int, AutoGuide]:
        owners = [(k, p) for k, p in enumerate(self.parts) if isinstance(p, AutoGuide) and site.name in p.places]
        if len(owners) != 1:
            have = "no part" if not owners else " and ".join(f"part {k}" for k, _ in owners)
            raise GuideError(
                f"latent site {site} belongs to {have} of this AutoGuideList, but must belong to one. Hide it from the other "
                "parts, or show it to one, with su.poutine.block(model, expose=[…])."
            )
        return owners[0]

    def quantile_points(self, levels: Tensor) -> Mapping[str, Tensor]:
        points: dict[str, Tensor] = {}
        for part in self.parts:
            if not isinstance(part, AutoGuide):
                raise GuideError("a hand-written part has no quantiles: use those of `svi.sample(1000)`.")
            points |= part.quantile_points(levels)
        return points
