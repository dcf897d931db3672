"""The values that a distribution can have, where there are finitely many, and no more than can be summed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions import Distribution

from sursum.distributions.fluent import Masked

LARGEST = 4096
"""The most values that a site may have."""


VALUES = "values"
"""What a site says, in its `infer`, to be given other values than all of its support: a `Support`."""


@dataclass(frozen=True)
class Support:
    """Finitely many values: how many, and a function that gives them along a leading dimension, (size, *event shape).

    Where each element of a batch has values of its own they are of shape (size, *batch shape, *event shape).
    """

    size: int
    values: Callable[[], Tensor]


def support_of_site(site: Any) -> Support | None:
    """The values that a site is given; None if they are not known to be finitely many."""
    return site.infer.get(VALUES) or finite_support(site.fn)


def finite_support(fn: Any) -> Support | None:
    """The values that draws of `fn` can have; None if they are not known to be finitely many.

    They are the same for every element of its batch. Where elements of a batch have different numbers of values, as in a
    binomial of several totals, they are those of all; the density of an element is zero where it cannot have one.

    Example:
        >>> import sursum.distributions as dist
        >>> finite_support(dist.Binomial(3, torch.tensor([0.1, 0.2]))).values()
        tensor([0., 1., 2., 3.])
        >>> finite_support(dist.Bernoulli(torch.ones(2) / 2).to_event(1)).values().tolist()
        [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
        >>> finite_support(dist.Poisson(1.0))
    """
    if isinstance(fn, Masked):
        return finite_support(fn.base_dist)
    if isinstance(fn, td.Independent):
        return _product(fn)
    if isinstance(fn, td.MixtureSameFamily):
        return finite_support(fn.component_distribution)
    if isinstance(fn, td.Categorical):
        size = int(fn.param_shape[-1])
        return Support(size, lambda: torch.arange(size, device=fn._param.device))
    if isinstance(fn, td.OneHotCategorical):
        size = int(fn.event_shape[0])
        return Support(size, lambda: torch.eye(size, dtype=fn._param.dtype, device=fn._param.device))
    total = getattr(fn, "total_count", None)
    if isinstance(fn, Distribution) and fn.event_shape == () and total is not None and fn.has_enumerate_support:
        size = 1 + int(torch.as_tensor(total).max())
        first = next((value for value in vars(fn).values() if isinstance(value, Tensor) and value.is_floating_point()), None)
        dtype = torch.get_default_dtype() if first is None else first.dtype
        return Support(size, lambda: torch.arange(size, dtype=dtype))
    if isinstance(fn, Distribution) and fn.has_enumerate_support:
        return _list_support(fn)
    return None


def _list_support(fn: Distribution) -> Support | None:
    """What the distribution itself lists."""
    try:
        values = fn.enumerate_support(expand=False)
    except NotImplementedError:
        return None
    event = values.shape[values.dim() - len(fn.event_shape) :]
    return Support(len(values), lambda: values.reshape(len(values), *event))


def _product(fn: Any) -> Support | None:
    """Every combination of the values of the elements of an event, the last element changing fastest."""
    base, count = fn.base_dist, fn.reinterpreted_batch_ndims
    one = finite_support(base)
    if one is None or not count:
        return one
    shape = base.batch_shape[len(base.batch_shape) - count :]
    elements = shape.numel()

    def values() -> Tensor:
        index = torch.cartesian_prod(*[torch.arange(one.size)] * elements).reshape(-1, elements)
        found = one.values()[index]
        return found.reshape(len(found), *shape, *found.shape[2:])

    return Support(one.size**elements, values)
