"""Whether a network that is mapped over its members still takes inputs of the sizes that an export leaves free.

Torch's rules that map normalising layers, pooling, embeddings and attention read the sizes of their inputs as numbers, which
are those of the example from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import SymInt, Tensor, nn
from torch.func import functional_call

from sursum.common.torch_private import DisableTorchFunction, FreeSizes, tree_flatten, tree_unflatten, without_dispatch_modes
from sursum.common.vmap import vmap


def keeps_sizes_free(net: nn.Module, weights: Mapping[str, Tensor], args: Any, kwargs: Any) -> bool:
    """Whether `net`, mapped over its weights, reads no free size of these inputs; tried on tensors without numbers.

    Args:
        weights: by path, (member, *shape).
        args, kwargs: the inputs as an export traces them; sizes that are free are symbols.
    """
    leaves, spec = tree_flatten((args, kwargs))
    if not any(isinstance(leaf, Tensor) and any(isinstance(size, SymInt) for size in leaf.shape) for leaf in leaves):
        return True
    try:
        with without_dispatch_modes(), DisableTorchFunction():
            trial = FreeSizes()
            tried = [trial.like(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            given, named = tree_unflatten(tried, spec)
            fixed = {path: trial.like(value) for path, value in [*net.named_parameters(), *net.named_buffers()]}

            def run(values: Mapping[str, Tensor]) -> list[Tensor]:
                output = functional_call(net, {**fixed, **values}, given, named)
                return [leaf for leaf in tree_flatten(output)[0] if isinstance(leaf, Tensor)]

            members = {path: trial.like(value) for path, value in weights.items()}
            with trial.mode:
                vmap(run, randomness="different")(members)
            return trial.are_free(tried)
    except Exception:
        return True  # the export itself meets what is wrong, and says so
