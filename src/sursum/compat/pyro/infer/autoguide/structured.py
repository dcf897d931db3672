"""Pyro's guides with the structure of the model: `AutoStructured`, `AutoGaussian`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

import sursum as su
from sursum.compat.pyro.infer.autoguide.base import AutoGuide
from sursum.compat.pyro.infer.autoguide.stored import _Gaussian, _Structured
from sursum.errors import GuideError


class AutoStructured(AutoGuide):
    """A distribution for each site, shifted by functions of the sites that it depends on.

    Args:
        conditionals: "delta", "normal" or "mvn", or a function that draws noise around zero, for all sites or by name.
        dependencies: "linear", by which each site depends on all before it, or by name the sites that a site depends on.
    """

    kind = _Structured

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        conditionals: str | Mapping[str, str | Callable[[], Tensor]] = "mvn",
        dependencies: str | Mapping[str, Mapping[str, Any]] = "linear",
        init_loc_fn: Callable[[Any], Any] | None = None,
        init_scale: float = 0.1,
        create_plates: Any = None,
    ) -> None:
        settings: dict[str, Any] = {"conditionals": conditionals, "dependencies": dependencies}
        super().__init__(model, create_plates=create_plates, init_loc_fn=init_loc_fn, init_scale=init_scale, **settings)

    def median(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The values at the locations."""
        self._set_up(args, kwargs)
        found: dict[str, Tensor] = self.sursum.centre(su.ParamStore())
        return found


class AutoGaussian(AutoGuide):
    """A normal distribution over all coordinates, whose precision has the structure of the model; as ``AutoGaussianDense``.

    Args:
        backend: "dense"; Pyro's other one, "funsor", is not here.
    """

    kind = _Gaussian

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        init_loc_fn: Callable[[Any], Any] | None = None,
        init_scale: float = 0.1,
        backend: str | None = None,
    ) -> None:
        if backend not in (None, "dense"):
            raise GuideError(f"`backend` is {backend!r}, and the one that is here is 'dense'.")
        super().__init__(model, init_loc_fn=init_loc_fn, init_scale=init_scale)
        self.sursum.prefix = "AutoGaussianDense"


AutoGaussianDense = AutoGaussian
