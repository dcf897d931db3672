"""The common base of handlers that are given values by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum.common.patterns import suggestion
from sursum.common.user_frame import warn
from sursum.core.arguments import as_data
from sursum.core.messages import Param, Sample, Site
from sursum.core.plates import by_step
from sursum.core.runtime import Messenger, P, R, handler, required
from sursum.errors import ObservationError, OptionError, UnusedSiteWarning
from sursum.handlers.unused import find_unused


@handler
class Given(Messenger[P, R]):
    """A handler with `data`, values by site name: tensors, arrays or columns, or a `Trace`.

    A Python number is a value as well, an integer where the site counts. Names that match nothing give a warning.

    The value of a site in a scan has a leading time dimension, and each step takes its element.

    Raises:
        OptionError: `data` is not a mapping.
        ObservationError: a value that its site cannot have.
    """

    data: Mapping[str, Any] = required()

    met: dict[str, Site] = field(init=False, repr=False, default_factory=dict)

    takes: ClassVar[tuple[type[Site], ...]] = (Sample,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.data, Mapping):
            raise OptionError(f"{type(self).__name__} needs a mapping from names to values, but got {self.data!r}.")

    def given(self, site: Site) -> bool:
        """Whether there is a value for this site; None does not count."""
        self.met.setdefault(site.name, site)
        return isinstance(site, self.takes) and self.data.get(site.name) is not None

    def value(self, site: Site) -> Any:
        """The value for this site."""
        value = self.data[site.name]
        value = value.value if isinstance(value, Site) else value
        value = as_data(value, lambda: f"the value given to site {site}", ObservationError)
        if isinstance(value, (bool, int, float)):
            value = _tensor_of(value, site)
        return by_step(site, value) if isinstance(site, Sample) else value

    def finish(self) -> None:
        verb = type(self).__name__
        # Of a whole trace nobody expects that all of it is used.
        given = [
            name
            for name, entry in self.data.items()
            if entry is not None and (not isinstance(entry, Site) or isinstance(entry, self.takes))
        ]
        taken = [name for name, site in self.met.items() if isinstance(site, self.takes)]
        for name, why in find_unused(self, given, taken, self._why, patterns=False):
            warn(f"{verb}: the value for {name!r} was not used: {why}", UnusedSiteWarning)

    def _why(self, name: str) -> str:
        """Why the value of a name is not used."""
        site = self.met.get(name)
        if isinstance(site, Param):
            verb = type(self).__name__
            return f"{site} is a parameter here. Put {verb} outside lift, where it is a sample site, or use substitute"
        if site is not None:
            return f"{site} is a {site.type} site, which takes no value"
        return f"no site of that name was reached.{suggestion(name, self.met)}"


def _tensor_of(number: float, site: Site) -> Tensor:
    """A number as a value of a site: a float, unless the site's values are counts or truths."""
    if isinstance(site, Sample) and isinstance(site.fn, Distribution):
        try:
            support: Any = site.fn.support
            discrete = bool(support.is_discrete)
        except NotImplementedError:
            discrete = False
        if discrete:
            return torch.tensor(number)
    return torch.tensor(float(number))
