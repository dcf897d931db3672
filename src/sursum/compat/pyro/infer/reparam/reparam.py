"""`Reparam`: the base of reparameterisers of one's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any


class Reparam(ABC):
    """A reparameteriser in Pyro's manner: `apply` gets a message and returns the one to go on with.

    Where the returned message has a value, that is the site's, deterministic; otherwise the site is drawn from its `fn` under
    an auxiliary name.
    """

    @abstractmethod
    def apply(self, msg: Mapping[str, Any]) -> dict[str, Any]:
        """``{"fn": …, "value": …, "is_observed": …}`` for a message with the keys name, fn, value, is_observed."""
