"""torch's transforms, and those with parameters, whose networks are zuko's."""

from torch.distributions import biject_to, transform_to
from torch.distributions.transforms import *  # noqa: F403
from torch.distributions.transforms import __all__ as _theirs

from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.distributions.flows import (
    ComposeTransformModule,
    Permute,
    TransformModule,
    affine_autoregressive,
    affine_coupling,
    iterated,
    permute,
    spline,
    spline_autoregressive,
    spline_coupling,
)

__all__ = [
    "ComposeTransformModule",
    "Permute",
    "TransformModule",
    "affine_autoregressive",
    "affine_coupling",
    "biject_to",
    "iterated",
    "permute",
    "spline",
    "spline_autoregressive",
    "spline_coupling",
    "transform_to",
    *_theirs,
]

_MADE = "write the function, {}(input_dim, …), which makes its networks as well"
_NOT_ZUKOS = (
    "zuko has none; write spline_coupling or affine_autoregressive, or a transform of yours, torch's Transform. In a guide: "
    "AutoNormalizingFlow(model, flow=lambda n: zuko.flows.{}(n))"
)
_CLASSES = {
    "AffineAutoregressive": "affine_autoregressive",
    "AffineCoupling": "affine_coupling",
    "Spline": "spline",
    "SplineAutoregressive": "spline_autoregressive",
    "SplineCoupling": "spline_coupling",
}
_ABSENT = {
    "NAF": ("NeuralAutoregressive", "neural_autoregressive"),
    "MAF": (
        *("BlockAutoregressive", "block_autoregressive", "BatchNorm", "batchnorm", "Householder", "householder"),
        *("Planar", "planar", "Radial", "radial", "Polynomial", "polynomial", "Sylvester", "sylvester"),
    ),
}

__getattr__ = refusing(
    "pyro.distributions.transforms",
    __all__,
    {name: _MADE.format(made) for name, made in _CLASSES.items()}
    | {name: _NOT_ZUKOS.format(flow) for flow, names in _ABSENT.items() for name in names},
)
