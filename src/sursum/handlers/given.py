"""What handlers that are given values by name have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar

from sursum.common.patterns import suggestion
from sursum.common.user_frame import warn
from sursum.core.arguments import as_data
from sursum.core.messages import Param, Sample, Site
from sursum.core.plates import by_step
from sursum.core.runtime import Messenger, P, R, handler, required
from sursum.core.validation import validation_enabled
from sursum.errors import ObservationError, UnusedSiteWarning


@handler
class Given(Messenger[P, R]):
    """A handler with `data`, values by site name, tensors, arrays or columns; a `Trace` will do.

    Names that match nothing are warned of.

    The value of a site in a scan has a leading dimension, time, and each step takes its own.

    Raises:
        TypeError: `data` is no mapping.
        ObservationError: a value that its site cannot have.
    """

    data: Mapping[str, Any] = required()

    met: dict[str, Site] = field(init=False, repr=False, default_factory=dict)

    takes: ClassVar[tuple[type[Site], ...]] = (Sample,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.data, Mapping):
            raise TypeError(f"{type(self).__name__} needs a mapping from names to values, and got {self.data!r}.")

    def given(self, site: Site) -> bool:
        """Whether there is a value for this site; None is none."""
        self.met.setdefault(site.name, site)
        return isinstance(site, self.takes) and self.data.get(site.name) is not None

    def value(self, site: Site) -> Any:
        """The value for this site."""
        value = self.data[site.name]
        value = value.value if isinstance(value, Site) else value
        value = as_data(value, lambda: f"the value given to site {site}", ObservationError)
        return by_step(site, value) if isinstance(site, Sample) else value

    def finish(self) -> None:
        if not validation_enabled():
            return
        verb = type(self).__name__
        for name in self.data:
            site, entry = self.met.get(name), self.data[name]
            # Of a whole trace nobody expects that all of it is used.
            ignored = entry is None or (isinstance(entry, Site) and not isinstance(entry, self.takes))
            if ignored or isinstance(site, self.takes) or not self.note(name):
                continue
            if isinstance(site, Param):
                what = f"{site} is a parameter here. Put {verb} outside of lift, where it is a sample site, or use substitute"
            elif site is not None:
                what = f"{site} is a {site.type} site, which takes no value"
            else:
                what = f"no site of that name was reached.{suggestion(name, self.met)}"
            warn(f"{verb}: the value for {name!r} was not used: {what}", UnusedSiteWarning)
