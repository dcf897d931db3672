"""Ways to write a latent site, for `sursum.reparam`."""

import sys
from typing import TYPE_CHECKING, Any

from sursum.common.late_names import LateNames
from sursum.common.other_libraries import refuse_name
from sursum.handlers.affine_reparam import AffineReparam
from sursum.handlers.circular_reparam import CircularReparam
from sursum.handlers.loc_scale import LocScaleReparam
from sursum.handlers.projected_normal_reparam import ProjectedNormalReparam
from sursum.handlers.reparam import Reparam
from sursum.handlers.reparam_strategies import AutoReparam, MinimalReparam
from sursum.handlers.split_reparam import SplitReparam
from sursum.handlers.student_t_reparam import StudentTReparam
from sursum.handlers.transform_reparam import TransformReparam

if TYPE_CHECKING:
    from sursum.vi.neutra import NeuTraReparam

__all__ = [
    "AffineReparam",
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

if not TYPE_CHECKING:
    _LATE = LateNames(__name__, {"sursum.vi.neutra": ("NeuTraReparam",)})

    def __getattr__(name: str) -> Any:
        """A name that is imported now: that of a guide's room."""
        return _LATE.load(name) if name in _LATE else refuse_name(sys.modules[__name__], name, {})

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
