"""`Answering`: the common base of handlers that answer the latent sites of a program."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from sursum.core.messages import Sample, Site, Step
from sursum.core.plates import by_step
from sursum.core.runtime import Messenger, handler, perform
from sursum.core.scope import is_enumerated, own_steps
from sursum.distributions.delta import Delta
from sursum.distributions.fluent import unwrap


@handler
class Answering(Messenger):
    """Gives every latent site a value. A subclass computes it in `latent`.

    A site that is observed, or has a value, is not latent, nor are the indices of a subsample. A latent site with all its
    mass at one point has that value: there is nothing to infer. A latent site in a scan is answered once, for all steps, and
    each step takes its element.
    """

    whole: dict[str, tuple[Any, Any]] = field(init=False, repr=False, default_factory=dict)

    def latent(self, site: Sample, steps: tuple[Step, ...]) -> Any:
        """The answer for a latent site, for all `steps` at once, their sizes leftmost; outside a scan `steps` is empty.

        None leaves it to `settle`, step by step.
        """
        raise NotImplementedError

    def settle(self, site: Sample, answer: Any) -> Sample:
        """The site with its value, given this step's element of the result of `latent`."""
        return site.but(value=answer)

    def knows(self, site: Sample) -> bool:
        """Whether a site with all its mass at one point is also answered by `latent`."""
        return False

    def subsample(self, site: Sample) -> Any:
        """The answer where a plate draws the indices of the elements that are present."""
        return self.outside(site)

    def outside(self, site: Site) -> Any:
        """The answer for a site that is not latent, or has already been answered."""
        return perform(site)

    def handle(self, site: Site) -> Any:
        if not isinstance(site, Sample) or site.is_observed:
            return self.outside(site)
        if site.infer.get("is_subsample"):
            return self.subsample(site)
        return self.outside(site if site.value is not None or is_enumerated(site) else self.answered(site))

    def answered(self, site: Sample) -> Sample:
        """A latent site with its value."""
        if isinstance(unwrap(site.fn), Delta) and not self.knows(site):
            return site.but(value=site.fn.rsample())
        steps = own_steps(site)
        answer = self._in_all(site, steps) if steps else self.latent(site, ())
        return self.settle(site, answer if answer is None else by_step(site, answer))

    def _in_all(self, site: Sample, steps: tuple[Step, ...]) -> Any:
        """The result of `latent` in the first step, cached for the others."""
        loop, answer = self.whole.get(site.name, (None, None))
        if loop is not steps[0].loop:
            answer = self.latent(site, steps)
            self.whole[site.name] = steps[0].loop, answer
        return answer
