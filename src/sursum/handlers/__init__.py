"""Handlers, one verb a file. `sursum.poutine` is another name of this module.

Imports `core` and below; `density` and every room above import it.
"""

from sursum.core.messages import Deterministic, Factor, Frame, Param, Sample, Site, Step
from sursum.core.runtime import Messenger, handler, perform
from sursum.core.trace import Trace
from sursum.handlers.block import block
from sursum.handlers.condition import condition
from sursum.handlers.config_enumerate import config_enumerate
from sursum.handlers.do import do
from sursum.handlers.lift.lift import lift
from sursum.handlers.loc_scale import LocScaleReparam
from sursum.handlers.markov import markov
from sursum.handlers.mask import mask
from sursum.handlers.param_store import ParamStore
from sursum.handlers.plate import plate
from sursum.handlers.random_module import random_module
from sursum.handlers.reparam import Reparam, reparam
from sursum.handlers.replay import replay
from sursum.handlers.reprior import reprior
from sursum.handlers.scale import scale
from sursum.handlers.scope import scope
from sursum.handlers.seed import seed
from sursum.handlers.substitute import substitute
from sursum.handlers.trace import trace
from sursum.handlers.transform_reparam import TransformReparam
from sursum.handlers.uncondition import uncondition

# The names of the same classes for people who come from Pyro.
BlockMessenger = block
ConditionMessenger = condition
DoMessenger = do
LiftMessenger = lift
MaskMessenger = mask
PlateMessenger = plate
ReparamMessenger = reparam
ReplayMessenger = replay
ScaleMessenger = scale
ScopeMessenger = scope
SeedMessenger = seed
SubstituteMessenger = substitute
TraceMessenger = trace
UnconditionMessenger = uncondition

__all__ = [
    "BlockMessenger",
    "ConditionMessenger",
    "Deterministic",
    "DoMessenger",
    "Factor",
    "Frame",
    "LiftMessenger",
    "LocScaleReparam",
    "MaskMessenger",
    "Messenger",
    "Param",
    "ParamStore",
    "PlateMessenger",
    "Reparam",
    "ReparamMessenger",
    "ReplayMessenger",
    "Sample",
    "ScaleMessenger",
    "ScopeMessenger",
    "SeedMessenger",
    "Site",
    "Step",
    "SubstituteMessenger",
    "Trace",
    "TraceMessenger",
    "TransformReparam",
    "UnconditionMessenger",
    "block",
    "condition",
    "config_enumerate",
    "do",
    "handler",
    "lift",
    "markov",
    "mask",
    "perform",
    "plate",
    "random_module",
    "reparam",
    "replay",
    "reprior",
    "scale",
    "scope",
    "seed",
    "substitute",
    "trace",
    "uncondition",
]
