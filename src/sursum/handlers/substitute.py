"""`substitute`: give values to latent sites and to parameters."""

from __future__ import annotations

from typing import Any, ClassVar

from sursum.common.other_libraries import answers
from sursum.core.messages import Param, Sample, Site
from sursum.core.runtime import P, R, handler, perform
from sursum.core.validation import check_value
from sursum.handlers.given import Given


@answers("values by site name are one mapping, `substitute(model, data={'{}': …})`", values="data", param_map="data")
@handler
class substitute(Given[P, R]):
    r"""Fix the latent sites and parameters named in `data` at these values; sites stay latent, and are scored.

    A parameter inside a `lift` that has been given a value this way stays a parameter.

    Example:
        >>> import sursum as su, torch
        >>> su.poutine.substitute(lambda: su.param("s", torch.tensor(0.0)), data={"s": torch.tensor(3.0)})()
        tensor(3.)
    """

    takes: ClassVar[tuple[type[Site], ...]] = (Sample, Param)

    def handle(self, site: Site) -> Any:
        if self.given(site) and not (isinstance(site, Sample) and site.is_observed):
            site = site.but(value=self.value(site))
            if isinstance(site, Sample):
                check_value(site)
        return perform(site)
