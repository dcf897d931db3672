"""`AutoNormalizingFlow`: a normalising flow of zuko over all unconstrained coordinates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, constraints

from sursum.common.optional_packages import require
from sursum.common.reprs import text
from sursum.core.module import module
from sursum.core.scope import current_generator
from sursum.distributions.randomness import drawing_from
from sursum.errors import GuideError
from sursum.vi.autoguide.guide import Place
from sursum.vi.autoguide.init import InitLoc
from sursum.vi.autoguide.joint import JointGuide


class AutoNormalizingFlow(JointGuide):
    r"""A normalising flow over all unconstrained coordinates, shifted and scaled.

    .. math:: u = \mu + \sigma \odot f(\varepsilon), \quad \varepsilon \sim N(0, I)

    Parameters: ``auto.loc`` and ``auto.scale`` (n,), and those of the flow's networks, ``auto.flow.…``. Needs zuko:
    ``pip install 'sursum[flows]'``.

    Args:
        model: the program.
        flow: a function from n to a zuko flow with n features, ``lambda n: zuko.flows.NSF(n, transforms=3)``; None is two
            masked autoregressive transforms with 32 hidden features, inverted, so that a draw takes one pass of the networks.
        init_loc_fn: where μ starts; see `AutoGuide`.
        init_scale: the initial σ.
        prefix: prefix of the parameters' names.

    Raises:
        MissingPackageError: zuko is not installed.

    References:
        Rezende, Mohamed, "Variational inference with normalizing flows" (2015); Kingma et al., "Improved variational
        inference with inverse autoregressive flow" (2016).
    """

    def __init__(
        self,
        model: Any,
        *,
        flow: Callable[[int], nn.Module] | None = None,
        init_loc_fn: InitLoc | None = None,
        init_scale: float = 0.5,
        prefix: str = "auto",
    ) -> None:
        super().__init__(model, init_loc_fn=init_loc_fn, init_scale=init_scale, prefix=prefix)
        self._make = inverse_autoregressive if flow is None else flow
        self.flow: nn.Module = nn.Module()

    def __repr__(self) -> str:
        usual = type(self) is not AutoNormalizingFlow or self._make is inverse_autoregressive
        made = "" if usual else f", flow={text(self._make)}"
        return f"{type(self).__name__}({text(self.model)}{made})"

    def laid_out(self, places: Mapping[str, Place]) -> None:
        super().laid_out(places)
        with drawing_from(current_generator()):
            self.flow = self._make(self.dim).eval()

    def posterior(self) -> Distribution:
        loc = self.parameter("loc", self.start.clone)
        scale = self.parameter("scale", lambda: torch.full_like(self.start, self.init_scale), constraints.positive)
        return Moved(module(f"{self.prefix}.flow", self.flow)(), loc, scale)

    def quantile_points(self, levels: Tensor) -> Mapping[str, Tensor]:
        raise GuideError("a normalising flow has no quantiles in closed form: use those of `svi.sample(1000)`.")


class Moved(Distribution):
    r"""The distribution of :math:`\mu + \sigma x` for x from a flow. It caches its last draw and the density there."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(self, flow: Any, loc: Tensor, scale: Tensor) -> None:
        self.flow, self.loc, self.scale = flow, loc, scale
        self.drawn: Tensor | None = None
        self.density: Tensor | None = None
        super().__init__(flow.batch_shape, torch.Size([loc.shape[-1]]), validate_args=False)

    @property
    def onto(self) -> FromNoise | None:
        """The map from normal noise to draws; None if the flow is not such a map: a mixture, or one with a bounded base."""
        base = getattr(self.flow, "base", None)
        while isinstance(base, Independent):
            base = base.base_dist
        if not isinstance(base, Normal) or not hasattr(self.flow, "transform"):
            return None
        return FromNoise(self.flow.transform, base.loc, base.scale, self.loc, self.scale)

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.real_vector

    def expand(self, batch_shape: Any, _instance: Any = None) -> Moved:
        return Moved(self.flow.expand(torch.Size(batch_shape)), self.loc, self.scale)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        x, log_density = self.flow.rsample_and_log_prob(torch.Size(sample_shape))
        self.drawn = self.loc + self.scale * x
        self.density = log_density - self.scale.log().sum(-1)
        return self.drawn

    def log_prob(self, value: Tensor) -> Tensor:
        if value is self.drawn and self.density is not None:
            return self.density
        log_density: Tensor = self.flow.log_prob((value - self.loc) / self.scale)
        return log_density - self.scale.log().sum(-1)


@dataclass(eq=False)
class FromNoise:
    r""":math:`u = \mu + \sigma \odot f(m + s \odot \varepsilon)`: f is a flow's, whose base is N(m, s²), and ε is standard."""

    transform: Any
    base_loc: Tensor
    base_scale: Tensor
    loc: Tensor
    scale: Tensor

    def __call__(self, noise: Tensor) -> Tensor:
        drawn: Tensor = self.transform.inv(self._rebase(noise))
        return self.loc + self.scale * drawn

    def log_abs_det_jacobian(self, noise: Tensor, u: Tensor) -> Tensor:
        """log |det ∂u/∂ε|."""
        _, log_det = self.transform.inv.call_and_ladj(self._rebase(noise))
        log_jacobian: Tensor = log_det + self.base_scale.log().sum(-1) + self.scale.log().sum(-1)
        return log_jacobian

    def _rebase(self, noise: Tensor) -> Tensor:
        # The flow's networks may be in single precision where the program is in double.
        return self.base_loc + self.base_scale * noise.to(self.base_loc.dtype)


def inverse_autoregressive(features: int) -> nn.Module:
    """Two masked autoregressive transforms, in the direction in which drawing takes one pass."""
    flows = zuko_flows()
    forward = flows.MAF(features, transforms=2, hidden_features=(32,))
    inverted: nn.Module = flows.Flow(forward.transform.inv, forward.base)
    return inverted


def zuko_flows() -> Any:
    """`zuko.flows`. Importing zuko switches off torch's argument checks process-wide: this restores them.

    Raises:
        MissingPackageError: zuko is not installed.
    """
    checks = Distribution._validate_args
    try:
        return require("zuko.flows", "AutoNormalizingFlow")
    finally:
        Distribution.set_default_validate_args(checks)
