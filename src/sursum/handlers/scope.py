"""`scope`: a prefix for the names of a part of a program."""

from __future__ import annotations

from typing import Any

from sursum.core.messages import Site
from sursum.core.runtime import Messenger, P, R, handler, perform, required
from sursum.errors import OptionError


@handler
class scope(Messenger[P, R]):
    """Give everything inside, sites, parameters and plates, names that begin with `prefix` and `divider`.

    So one function can be used several times in a program. Handlers inside know the sites by their own names, and handlers
    outside by the longer ones: ``su.condition(model, data={"left/y": …})``.

    Args:
        prefix: what comes before each name.
        divider: what is between the two.

    Raises:
        OptionError: an empty prefix.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> def effect():
        ...     with su.plate("groups", 3):
        ...         return su.sample("x", dist.Normal(0.0, 1.0))
        >>> def model():
        ...     return su.scope(effect, prefix="left")() + su.scope(effect, prefix="right")()
        >>> tr = su.trace(model).get_trace()
        >>> list(tr), tr["right/x"].plates[0].name
        (['left/x', 'right/x'], 'right/groups')
    """

    prefix: str = required()
    divider: str = "/"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.prefix, str) or not self.prefix:
            raise OptionError(f"scope needs a prefix, a string that is not empty, but got {self.prefix!r}.")

    def rename(self, name: str) -> str:
        return f"{self.prefix}{self.divider}{name}"

    def handle(self, site: Site) -> Any:
        answer = perform(site.but(name=self.rename(site.name)))
        return answer.but(name=site.name) if isinstance(answer, Site) and answer.name == self.rename(site.name) else answer
