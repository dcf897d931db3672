"""`do`: intervene."""

from __future__ import annotations

from typing import Any

from sursum.handlers.given import Given
from sursum.messages import Site
from sursum.runtime import handler, perform


@handler
class do(Given):
    r"""Intervene: the program goes on with the values in `data`, :math:`p(\,\cdot \mid do(z = v))`.

    The site itself stays where it was, outside: it is drawn and scored as before, but reaches nothing.

    Reference: Pearl, *Causality* (2009), section 3.2.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> su.poutine.do(lambda: 2 * su.sample("z", dist.Normal(0.0, 1.0)), data={"z": torch.tensor(3.0)})()
        tensor(6.)
    """

    def handle(self, site: Site) -> Any:
        out = perform(site)
        return out.but(value=self.value(site)) if self.given(site) else out
