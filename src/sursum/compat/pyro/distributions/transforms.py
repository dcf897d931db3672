"""torch's transforms; flows are zuko's."""

from torch.distributions import biject_to, transform_to
from torch.distributions.transforms import *  # noqa: F403
from torch.distributions.transforms import __all__ as _theirs

from sursum.compat.pyro._refuse import refusing

__all__ = ["biject_to", "transform_to", *_theirs]

_FLOW = (
    "flows are zuko's, AutoNormalizingFlow(model, flow=lambda n: zuko.flows.{}(n)); a transform of yours is torch's Transform"
)
_FLOWS = {
    "NSF": ("Spline", "spline", "SplineCoupling", "spline_coupling", "SplineAutoregressive", "spline_autoregressive"),
    "MAF": (
        *("AffineAutoregressive", "affine_autoregressive", "AffineCoupling", "affine_coupling", "BlockAutoregressive"),
        *("block_autoregressive", "iterated", "Permute", "permute", "BatchNorm", "batchnorm", "Householder", "householder"),
        *("Planar", "planar", "Radial", "radial", "Polynomial", "polynomial", "Sylvester", "sylvester"),
    ),
    "NAF": ("NeuralAutoregressive", "neural_autoregressive"),
}

__getattr__ = refusing(
    "pyro.distributions.transforms",
    __all__,
    {name: _FLOW.format(flow) for flow, names in _FLOWS.items() for name in names},
)
