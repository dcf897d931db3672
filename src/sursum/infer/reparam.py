"""Ways to write a latent site, for `sursum.reparam`."""

from sursum.handlers.circular_reparam import CircularReparam
from sursum.handlers.loc_scale import LocScaleReparam
from sursum.handlers.projected_normal_reparam import ProjectedNormalReparam
from sursum.handlers.reparam import Reparam
from sursum.handlers.reparam_strategies import AutoReparam, MinimalReparam
from sursum.handlers.split_reparam import SplitReparam
from sursum.handlers.student_t_reparam import StudentTReparam
from sursum.handlers.transform_reparam import TransformReparam
from sursum.vi.neutra import NeuTraReparam

__all__ = [
    "AutoReparam",
    "CircularReparam",
    "LocScaleReparam",
    "MinimalReparam",
    "NeuTraReparam",
    "ProjectedNormalReparam",
    "Reparam",
    "SplitReparam",
    "StudentTReparam",
    "TransformReparam",
]
