"""Ways to write a latent site, for `sursum.reparam`."""

from sursum.handlers.loc_scale import LocScaleReparam
from sursum.handlers.reparam import Reparam
from sursum.handlers.transform_reparam import TransformReparam
from sursum.vi.neutra import NeuTraReparam

__all__ = ["LocScaleReparam", "NeuTraReparam", "Reparam", "TransformReparam"]
