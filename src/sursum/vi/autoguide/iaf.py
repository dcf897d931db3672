"""`AutoIAFNormal`: inverse autoregressive flows over all unconstrained coordinates."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from sursum.common.settings import whole_number
from sursum.errors import GuideError
from sursum.vi.autoguide.flow import AutoNormalizingFlow, zuko_flows
from sursum.vi.autoguide.init import InitLoc


class AutoIAFNormal(AutoNormalizingFlow):
    r"""`AutoNormalizingFlow` with inverse autoregressive transforms of a chosen number and width.

    .. math:: u = \mu + \sigma \odot f(\varepsilon), \qquad f = f_K \circ \dots \circ f_1

    where each coordinate of :math:`f_k` depends on those before it, so that a draw takes one pass of the networks. Needs zuko:
    ``pip install 'sursum[flows]'``.

    Args:
        model: the program.
        num_transforms: K.
        hidden_dim: the width of each network's hidden layers; None is twice the number of coordinates, and at least 8.
        num_hidden_layers: how many hidden layers each network has.
        init_loc_fn: where μ starts; see `AutoGuide`.
        init_scale: the initial σ.
        prefix: prefix of the parameters' names.

    Raises:
        GuideError: a number that is not positive.
        MissingPackageError: zuko is not installed.

    References:
        Kingma et al., "Improved variational inference with inverse autoregressive flow" (2016).
    """

    def __init__(
        self,
        model: Any,
        *,
        num_transforms: int = 1,
        hidden_dim: int | None = None,
        num_hidden_layers: int = 2,
        init_loc_fn: InitLoc | None = None,
        init_scale: float = 0.5,
        prefix: str = "auto",
    ) -> None:
        self.num_transforms = whole_number("num_transforms", num_transforms, 1, GuideError, "1 is usual")
        if hidden_dim is not None:
            hidden_dim = whole_number("hidden_dim", hidden_dim, 1, GuideError, "leave it out")
        self.hidden_dim = hidden_dim
        self.num_hidden_layers = whole_number("num_hidden_layers", num_hidden_layers, 1, GuideError, "2 is usual")
        flow = partial(_inverse, self.num_transforms, self.hidden_dim, self.num_hidden_layers)
        super().__init__(model, flow=flow, init_loc_fn=init_loc_fn, init_scale=init_scale, prefix=prefix)


def _inverse(transforms: int, width: int | None, layers: int, features: int) -> nn.Module:
    flows = zuko_flows()
    hidden = (max(2 * features, 8) if width is None else width,) * layers
    forward = flows.MAF(features, transforms=transforms, hidden_features=hidden)
    inverted: nn.Module = flows.Flow(forward.transform.inv, forward.base)
    return inverted
