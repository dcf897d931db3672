"""Torch's private names, which may change in any release, under names of ours; no other file imports them.

A torch release that renames one of them breaks this file only. `tests/test_layers.py` checks this.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch._decomp import decomposition_table
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.function import BackwardCFunction
from torch.distributions.transforms import _InverseTransform as InverseTransform
from torch.distributions.utils import _sum_rightmost as sum_rightmost
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.batchnorm import _NormBase as NormBase
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from torch.utils._python_dispatch import TorchDispatchMode as _TorchDispatchMode
from torch.utils._python_dispatch import _disable_current_modes as without_dispatch_modes
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack as dispatch_modes
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

__all__ = [
    "COMPOSITE",
    "AutoDispatchBelowAutograd",
    "DisableTorchDispatch",
    "DisableTorchFunction",
    "FreeSizes",
    "InverseTransform",
    "NormBase",
    "OpOverload",
    "StorageWeakRef",
    "TensorBase",
    "TorchDispatchMode",
    "alive_storage",
    "current_autograd_node",
    "decomposition_table",
    "default_store",
    "dispatch_mode_at",
    "dispatch_modes",
    "enable_mkldnn",
    "function_mode_at",
    "function_modes",
    "function_of",
    "has_kernel",
    "is_all_true",
    "is_batched",
    "is_wrapped",
    "mkldnn_enabled",
    "next_sequence_number",
    "num_dispatch_modes",
    "parse_schema",
    "sample_dirichlet",
    "standard_gamma",
    "sum_rightmost",
    "take_step",
    "tree_flatten",
    "tree_leaves",
    "tree_unflatten",
    "without_dispatch_modes",
    "without_dynamo",
]


@contextmanager
def without_dynamo() -> Iterator[None]:
    """A block in which optimisers are made without an import of Dynamo, two seconds, by which torch hides their making from
    `torch.compile`; where it is imported already, they are made as ever."""
    plain = [] if "torch._dynamo" in sys.modules else [getattr(one, "__wrapped__", None) for one in vars(Optimizer).values()]
    marked = [fn for fn in plain if fn is not None and not hasattr(fn, _DISABLED)]
    for fn in marked:
        setattr(fn, _DISABLED, fn)
    try:
        yield
    finally:
        for fn in marked:
            vars(fn).pop(_DISABLED, None)  # another thread may have been here


def take_step(optimizer: Optimizer) -> None:
    """`optimizer.step()`, without the import of Dynamo by which torch's optimisers interrupt the graphs of `torch.compile`.

    They take it themselves where Dynamo is imported already, or somebody waits for their steps: a hook, a schedule, a subclass.
    """
    step = inspect.unwrap(type(optimizer).step)
    hooks = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
    watched = "step" in vars(optimizer) or any((*hooks, _global_optimizer_pre_hooks, _global_optimizer_post_hooks))
    if watched or "torch._dynamo" in sys.modules or not step.__module__.startswith("torch.optim."):
        optimizer.step()
        return
    with torch.set_grad_enabled(optimizer.defaults.get("differentiable", False)):
        step(optimizer)


_DISABLED = "__dynamo_disable"
"""Where torch keeps the function that Dynamo does not look into."""


class TorchDispatchMode(_TorchDispatchMode):
    """The base of dispatch modes."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: torch would import Dynamo, two seconds, to wrap a mode otherwise."""
        return False


class FreeSizes:
    """Tensors without numbers, some of whose sizes are symbols.

    Args:
        mode: operators on them inside it have results of the same kind.
    """

    def __init__(self) -> None:
        # This imports SymPy, which is slow.
        self._shapes = import_module("torch.fx.experimental.symbolic_shapes")
        self.mode = FakeTensorMode(shape_env=self._shapes.ShapeEnv(), allow_non_fake_inputs=True)

    def like(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of the same dtype and sizes; those that are symbols in `tensor` are symbols of its own."""
        sizes: list[Any] = list(tensor.shape)
        kinds = self._shapes.DimDynamic
        dims = [kinds.DYNAMIC if isinstance(size, torch.SymInt) else kinds.STATIC for size in sizes]
        shape = [size.node.hint if isinstance(size, torch.SymInt) else size for size in sizes]
        real = torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
        context = self._shapes.StatelessSymbolicContext(dynamic_sizes=dims)
        return self.mode.from_tensor(real, symbolic_context=context)

    def are_free(self, tensors: Iterable[object]) -> bool:
        """Whether no operator has fixed a symbol among the sizes of these."""
        sizes: list[Any] = [size for tensor in tensors if isinstance(tensor, torch.Tensor) for size in tensor.shape]
        return all(size.node.maybe_as_int() is None for size in sizes if isinstance(size, torch.SymInt))


# Checks.

is_all_true = torch._is_all_true
"""Whether a bool tensor is True everywhere, as an operator, which a capture can turn into a guard."""
sample_dirichlet = torch._sample_dirichlet
"""Draws of Dirichlet distributions, without a gradient."""
standard_gamma = torch._standard_gamma
"""Draws of Gamma distributions of rate 1, differentiable by the shape."""

# Dispatch.

AutoDispatchBelowAutograd = torch._C._AutoDispatchBelowAutograd
DisableTorchDispatch = torch._C._DisableTorchDispatch
"""While it is entered, no dispatch mode sees what operators run."""
DisableTorchFunction = torch._C.DisableTorchFunction
TensorBase = torch._C.TensorBase
dispatch_mode_at: Callable[[int], object] = torch._C._get_dispatch_stack_at
has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
function_mode_at: Callable[[int], object] = torch._C._get_function_stack_at
function_modes: Callable[[], int] = torch._C._len_torch_function_stack
"""The number of modes that intercept calls of Python."""
is_batched = torch._C._functorch.is_batchedtensor
is_wrapped: Callable[[torch.Tensor], bool] = torch._C._functorch.is_functorch_wrapped_tensor
"""Whether a tensor belongs to a transformation of functions, such as `vmap` or `grad`, which hides its values."""
num_dispatch_modes: Callable[[], int] = torch._C._len_torch_dispatch_stack
parse_schema = torch._C.parse_schema
COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
"""The kernels that are composed of other operators, for all devices and for autograd."""

# Memory.

alive_storage: Callable[[int], torch.UntypedStorage] = torch.UntypedStorage._new_with_weak_ptr
"""The storage that the pointer of a `StorageWeakRef` points to, while it is alive."""

# Autograd.

current_autograd_node = torch._C._current_autograd_node
"""The node that is being differentiated; None outside a backward pass."""
next_sequence_number = torch._C._autograd._get_sequence_nr
"""The sequence number of the next node of a forward pass."""


def function_of(node: object) -> type | None:
    """The `torch.autograd.Function` whose backward a node runs; None for torch's own nodes."""
    if not isinstance(node, BackwardCFunction):
        return None
    made: type = type(node)._forward_cls  # type: ignore[attr-defined]
    return made


# Backends.

mkldnn_enabled = torch._C._get_mkldnn_enabled
enable_mkldnn = torch._C._set_mkldnn_enabled


# Ranks.


def default_store() -> torch.distributed.Store:
    """The store by which the ranks of the default process group have found each other."""
    return torch.distributed.distributed_c10d._get_default_store()
