"""Products of a series in a number of steps that grows with the logarithm of its length."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Elements = tuple[Tensor, ...]
T = TypeVar("T")
Combine = Callable[[Elements, Elements], Elements]


def reduce_all(combine: Combine, elements: Elements) -> Elements:
    """The product of all elements along dimension 0, in their order, for an associative `combine` of batches.

    Example:
        >>> float(reduce_all(lambda a, b: (a[0] + b[0],), (torch.arange(5.0),))[0])
        10.0
    """
    count = len(elements[0])
    while count > 1:
        half = count // 2
        joined = combine(tuple(e[: 2 * half : 2] for e in elements), tuple(e[1 : 2 * half : 2] for e in elements))
        if count % 2:
            joined = tuple(torch.cat([j, e[-1:]]) for j, e in zip(joined, elements, strict=True))
        elements, count = joined, half + count % 2
    return tuple(e[0] for e in elements)


def scan_all(combine: Combine, elements: Elements) -> Elements:
    """The products of the first 1, 2, … elements.

    References:
        Blelloch (1990), Prefix sums and their applications.

    Example:
        >>> scan_all(lambda a, b: (a[0] + b[0],), (torch.arange(5.0),))[0]
        tensor([ 0.,  1.,  3.,  6., 10.])
    """
    count = len(elements[0])
    if count == 1:
        return elements
    half = count // 2
    pairs = combine(tuple(e[: 2 * half : 2] for e in elements), tuple(e[1 : 2 * half : 2] for e in elements))
    odd = scan_all(combine, pairs)  # at the places 1, 3, …
    if count > 2:
        later = (count - 1) // 2  # of the places 2, 4, …
        even = combine(tuple(o[:later] for o in odd), tuple(e[2::2] for e in elements))
        even = tuple(torch.cat([e[:1], v]) for e, v in zip(elements, even, strict=True))
    else:
        even = tuple(e[:1] for e in elements)
    found = []
    for e, o in zip(even, odd, strict=True):
        extra = e[len(o) :]
        woven = torch.stack([e[: len(o)], o], 1).flatten(0, 1)
        found.append(torch.cat([woven, extra]) if len(extra) else woven)
    return tuple(found)
