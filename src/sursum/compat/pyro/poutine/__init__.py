"""Pyro's handlers, traces and messengers.

Imports sursum's public names; the rest of `sursum.compat.pyro` imports it.
"""

from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.poutine import handlers, messenger, nodes, runtime, trace_struct, util
from sursum.compat.pyro.poutine.block import block
from sursum.compat.pyro.poutine.enumerated import enum, markov
from sursum.compat.pyro.poutine.executions import escape, replay, trace
from sursum.compat.pyro.poutine.handlers import (
    broadcast,
    collapse,
    condition,
    do,
    equalize,
    get_mask,
    infer_config,
    lift,
    mask,
    scale,
    seed,
    substitute,
    uncondition,
)
from sursum.compat.pyro.poutine.messenger import Messenger
from sursum.compat.pyro.poutine.queue import queue
from sursum.compat.pyro.poutine.reparam import reparam
from sursum.compat.pyro.poutine.scoping import scope
from sursum.compat.pyro.poutine.trace_struct import Trace
from sursum.compat.pyro.poutine.util import NonlocalExit, enable_validation, is_validation_enabled, unwrap

__all__ = [
    "Messenger",
    "NonlocalExit",
    "Trace",
    "block",
    "broadcast",
    "collapse",
    "condition",
    "do",
    "enable_validation",
    "enum",
    "equalize",
    "escape",
    "get_mask",
    "handlers",
    "infer_config",
    "is_validation_enabled",
    "lift",
    "markov",
    "mask",
    "messenger",
    "nodes",
    "queue",
    "reparam",
    "replay",
    "runtime",
    "scale",
    "scope",
    "seed",
    "substitute",
    "trace",
    "trace_struct",
    "uncondition",
    "unwrap",
    "util",
]

__getattr__ = refusing("pyro.poutine", __all__, {"plate": "write pyro.plate"})
