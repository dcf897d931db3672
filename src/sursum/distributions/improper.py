"""`ImproperUniform`: the flat prior, whose density is constant over its support."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.fluent import Fluent
from sursum.distributions.shapes import broadcast_shapes
from sursum.errors import DensityError


class ImproperUniform(Fluent, torch.distributions.Distribution):
    r"""The improper density :math:`p(x) \propto 1` on `support`.

    It cannot be drawn from: use it only with samplers and optimisers, which need no draw from the prior.

    Args:
        support: the set on which the density is constant, e.g. ``constraints.real``.
        batch_shape: shape of independent copies.
        event_shape: shape of one value; its length is at least ``support.event_dim``.

    Raises:
        DensityError: on `sample`.

    Example:
        >>> import torch
        >>> from torch.distributions import constraints
        >>> ImproperUniform(constraints.positive).log_prob(torch.tensor(3.0))
        tensor(0.)
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self,
        support: constraints.Constraint = constraints.real,
        batch_shape: tuple[int, ...] = (),
        event_shape: tuple[int, ...] = (),
        validate_args: bool | None = None,
    ) -> None:
        missing = len(event_shape) - support.event_dim
        self._support = constraints.independent(support, missing) if missing > 0 else support
        super().__init__(torch.Size(batch_shape), torch.Size(event_shape), validate_args=validate_args)

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        return self._support

    def expand(self, batch_shape: Any, _instance: Any = None) -> ImproperUniform:
        return ImproperUniform(self._support, tuple(batch_shape), self.event_shape, validate_args=self._validate_args)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        raise DensityError(
            "an ImproperUniform cannot be drawn from: it is not a probability distribution. "
            "Sample its posterior, give the site a value (condition, substitute), or choose a proper prior."
        )

    rsample = sample

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.zeros(
            broadcast_shapes(self.batch_shape, value.shape[: value.dim() - len(self.event_shape)]),
            dtype=value.dtype,
            device=value.device,
        )
