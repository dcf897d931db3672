"""`CustomDist`: a log density of one's own as a distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.distributions.family import promote
from sursum.distributions.fluent import Fluent
from sursum.distributions.shapes import broadcast_shapes
from sursum.distributions.written import KEY
from sursum.errors import DensityError, OptionError


class CustomDist(Fluent, Distribution):
    r"""A distribution by a function: ``log_prob(value, *arguments)`` gives its log density, of the batch shape.

    Args:
        log_prob: the function, of torch's operators. It is called with the value and the arguments, which are tensors.
        arguments: numbers and tensors; they broadcast, and their joint shape is the batch shape, or `batch_shape`.
        sampler: ``sampler(shape, *arguments)`` gives draws of shape ``shape + event_shape``; None where none are needed:
            observed sites, and latent ones under NUTS.
        support: the set of the values.
        event_shape: the shape of one value; its length is at least ``support.event_dim``.
        batch_shape: the batch shape, where the arguments do not have it because they are vectors or matrices.

    Raises:
        OptionError: the first argument is not a function.
        DensityError: on drawing, without a `sampler`.

    Example:
        >>> def log_prob(x, rate):
        ...     return rate.log() - rate * x
        >>> CustomDist(log_prob, 2.0, support=constraints.positive).log_prob(torch.tensor(1.0))
        tensor(-1.3069)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        log_prob: Callable[..., Tensor],
        *arguments: Any,
        sampler: Callable[..., Tensor] | None = None,
        support: constraints.Constraint = constraints.real,
        event_shape: tuple[int, ...] = (),
        batch_shape: tuple[int, ...] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not callable(log_prob):
            raise OptionError(f"`CustomDist` takes a function of the value and its arguments first, but got {log_prob!r}.")
        given = promote({str(k): value for k, value in enumerate(arguments)})
        self.arguments = tuple(given.values())
        self._function, self._sampler = log_prob, sampler
        missing = len(event_shape) - support.event_dim
        self._support = constraints.independent(support, missing) if missing > 0 else support
        whole = broadcast_shapes(*(value.shape for value in self.arguments)) if batch_shape is None else torch.Size(batch_shape)
        super().__init__(whole, torch.Size(event_shape), validate_args=validate_args)

    @constraints.dependent_property
    def support(self) -> Any:
        return self._support

    def expand(self, batch_shape: Any, _instance: Any = None) -> CustomDist:
        new = object.__new__(type(self))
        vars(new).update({name: value for name, value in vars(self).items() if name != KEY})
        new._batch_shape = torch.Size(batch_shape)
        return new

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        if self._sampler is None:
            raise DensityError(
                "this CustomDist cannot be drawn from: give it `sampler=`, a function of a shape and the arguments."
            )
        shape = self._extended_shape(torch.Size(sample_shape))
        drawn = self._sampler(shape[: len(shape) - len(self.event_shape)], *self.arguments)
        if drawn.shape != shape:
            raise DensityError(
                f"the sampler of a CustomDist gave draws of shape {tuple(drawn.shape)} instead of {tuple(shape)}."
            )
        return drawn

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        wanted = broadcast_shapes(self.batch_shape, value.shape[: value.dim() - len(self.event_shape)])
        found = torch.as_tensor(self._function(value, *self.arguments))
        try:
            fits = broadcast_shapes(found.shape, wanted) == wanted
        except RuntimeError:
            fits = False
        if not fits:
            raise DensityError(
                f"the function of a CustomDist gave log densities of shape {tuple(found.shape)}, where {tuple(wanted)} was "
                "expected: one for each value. Sum over the dimensions of one value."
            )
        return found.expand(wanted)
