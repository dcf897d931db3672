"""The methods that users of Pyro and NumPyro expect on every distribution: `to_event`, `expand_by`, `mask`, `shape`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.missing import mask_term, stand_in
from sursum.distributions.other_libraries import check_arguments
from sursum.distributions.shapes import broadcast_shapes
from sursum.distributions.written import Written
from sursum.errors import OptionError


class Fluent(Written):
    """Mixin of every distribution in `sursum.distributions`; raw `torch.distributions` objects are accepted as well.

    Example:
        >>> import sursum.distributions as dist
        >>> dist.Normal(torch.zeros(3), 1.0).to_event(1).event_shape
        torch.Size([3])
    """

    if not TYPE_CHECKING:  # type checkers see the signature of the distribution

        def __new__(cls, *args: Any, **kwargs: Any) -> Self:
            if not args and not kwargs:  # a copy, as made by torch's `expand`
                return object.__new__(cls)
            check_arguments(cls, args, kwargs)
            return super().__new__(cls, *args, **kwargs)

        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            signature = inspect.signature(cls.__init__)
            cls.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])

    def __call__(self, sample_shape: Any = ()) -> Tensor:
        """Draw, differentiably where there are such draws."""
        draw = self.rsample if self.has_rsample else self.sample  # type: ignore[attr-defined]
        drawn: Tensor = draw(torch.Size(sample_shape))
        return drawn

    @property
    def event_dim(self) -> int:
        """How many rightmost dimensions make up one value."""
        return len(self.event_shape)  # type: ignore[attr-defined]

    def shape(self, sample_shape: Any = ()) -> torch.Size:
        """The shape of draws."""
        return torch.Size(sample_shape) + self.batch_shape + self.event_shape  # type: ignore[attr-defined, no-any-return]

    def to_event(self, reinterpreted_batch_ndims: int | None = None) -> Independent:
        """The same distribution with that many rightmost batch dimensions (all if None) as event dimensions."""
        given = reinterpreted_batch_ndims
        return Independent(self, len(self.batch_shape) if given is None else given)  # type: ignore[attr-defined]

    def independent(self, reinterpreted_batch_ndims: int | None = None) -> Independent:
        """The old name of `to_event`."""
        return self.to_event(reinterpreted_batch_ndims)

    def expand_by(self, sample_shape: Any) -> Any:
        """Independent copies in new leftmost batch dimensions of shape `sample_shape`."""
        return self.expand(torch.Size(sample_shape) + self.batch_shape)  # type: ignore[attr-defined]

    def _validate_sample(self, value: Tensor) -> None:
        """torch's check, whose constraints of vectors fail where there are no values."""
        if not isinstance(value, Tensor) or value.numel():
            super()._validate_sample(value)  # type: ignore[misc]

    def mask(self, mask: Tensor | bool) -> Masked:
        """The same distribution with a log density of zero where `mask`, broadcast with the batch shape, is False."""
        return Masked(self, mask)


class Independent(Fluent, torch.distributions.Independent):  # type: ignore[type-arg]
    """`torch.distributions.Independent` with the methods of `Fluent`."""


class Masked(Fluent, torch.distributions.Distribution):
    """A distribution whose log density is zero where `mask` is False.

    Example:
        >>> import sursum.distributions as dist
        >>> dist.Normal(0.0, 1.0).mask(torch.tensor([True, False])).log_prob(torch.zeros(2))
        tensor([-0.9189,  0.0000])
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, base_dist: Any, mask: Tensor | bool) -> None:
        self.mask_tensor = as_mask(mask).clone()  # as it is now: a loop may write into it
        shape = broadcast_shapes(base_dist.batch_shape, self.mask_tensor.shape)
        self.base_dist = base_dist if base_dist.batch_shape == shape else base_dist.expand(shape)
        self.has_rsample = base_dist.has_rsample
        super().__init__(shape, base_dist.event_shape, validate_args=False)

    @constraints.dependent_property
    def support(self) -> Any:
        return self.base_dist.support

    @property
    def mean(self) -> Tensor:
        value: Tensor = self.base_dist.mean
        return value

    @property
    def variance(self) -> Tensor:
        value: Tensor = self.base_dist.variance
        return value

    def expand(self, batch_shape: Any, _instance: Any = None) -> Masked:
        return Masked(self.base_dist.expand(batch_shape), self.mask_tensor.expand(batch_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        value: Tensor = self.base_dist.sample(torch.Size(sample_shape))
        return value

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        value: Tensor = self.base_dist.rsample(torch.Size(sample_shape))
        return value

    def log_prob(self, value: Tensor) -> Tensor:
        return mask_term(self.base_dist.log_prob(stand_in(value, self.mask_tensor, len(self.event_shape))), self.mask_tensor)


def as_mask(mask: Any) -> Tensor:
    """A mask as booleans, which zeros and ones may stand for.

    Raises:
        OptionError: other numbers, such as weights.
    """
    given = torch.as_tensor(mask)
    if given.dtype is torch.bool:
        return given
    found = given.bool()
    if not bool((found == given).all()):
        raise OptionError(
            f"a mask has booleans, or zeros and ones, but this tensor of {given.dtype} has other numbers. A weight multiplies "
            "a log density: su.scale(scale=…)."
        )
    return found


def unwrap(fn: Any) -> Any:
    """`fn` without the `Independent` and `Masked` around it."""
    while isinstance(fn, (torch.distributions.Independent, Masked)):
        fn = fn.base_dist
    return fn
