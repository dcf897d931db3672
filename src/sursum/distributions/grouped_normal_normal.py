"""`GroupedNormalNormal`: normal numbers in groups, the means of which are normal and integrated out."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Normal, constraints

from sursum.distributions.family import Family, normal, promote
from sursum.errors import OptionError


class GroupedNormalNormal(Family):
    r"""Numbers around the means of their groups, which are unknown, and integrated out:

    .. math:: m_g \sim N(\mu_g, \tau_g^2), \qquad x_i \mid m \sim N(m_{g(i)}, \sigma_i^2)

    The density has no unknown per group, and its cost is that of one pass over the numbers.

    Args:
        prior_loc: μ, shape (groups,).
        prior_scale: τ > 0, shape (groups,).
        obs_scale: σ > 0, shape (n,) or ().
        group_idx: the group of each number, integers of shape (n,).

    Raises:
        OptionError: `group_idx` is not a vector of integers from 0 to groups − 1, or `prior_loc` is not a vector.

    Example:
        >>> fn = GroupedNormalNormal(torch.zeros(2), torch.ones(2), 1.0, torch.tensor([0, 0, 1]))
        >>> fn.log_prob(torch.tensor([1.0, 1.0, 0.0]))
        tensor(-3.9860)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "prior_loc": constraints.real_vector,
        "prior_scale": constraints.independent(constraints.positive, 1),
        "obs_scale": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True
    prior_loc: Tensor
    prior_scale: Tensor
    obs_scale: Tensor

    def __init__(
        self,
        prior_loc: Tensor,
        prior_scale: Tensor | float,
        obs_scale: Tensor | float,
        group_idx: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        given = promote({"prior_loc": prior_loc, "prior_scale": prior_scale, "obs_scale": obs_scale})
        prior_loc, taus, sigmas = given["prior_loc"], given["prior_scale"], given["obs_scale"]
        group_idx = torch.as_tensor(group_idx)
        if prior_loc.dim() == 0:
            raise OptionError("`prior_loc` of `GroupedNormalNormal` must have an element for each group, but is one number.")
        groups = prior_loc.shape[-1]
        if group_idx.dim() != 1 or group_idx.is_floating_point() or group_idx.dtype == torch.bool:
            raise OptionError("`group_idx` of `GroupedNormalNormal` must be a vector of integers.")
        if len(group_idx) and not 0 <= int(group_idx.min()) <= int(group_idx.max()) < groups:
            raise OptionError(
                f"`group_idx` of `GroupedNormalNormal` must be from 0 to {groups - 1}, as `prior_loc` has {groups}."
            )
        self._groups = groups
        self._index = (group_idx.long(),)  # not an argument with batch dimensions, so not a tensor of the distribution's own
        self._keep(
            (len(group_idx),),
            validate_args,
            prior_loc=prior_loc,
            prior_scale=taus.expand(*taus.shape[:-1], groups),
            obs_scale=sigmas.expand(*sigmas.shape[:-1], len(group_idx)),
        )

    @property
    def group_idx(self) -> Tensor:
        return self._index[0]

    @property
    def mean(self) -> Tensor:
        return self.prior_loc[..., self.group_idx]

    @property
    def variance(self) -> Tensor:
        return self.prior_scale.square()[..., self.group_idx] + self.obs_scale.square()

    def _sums(self, value: Tensor) -> Tensor:
        """Of each group."""
        start = torch.zeros((*value.shape[:-1], self._groups), dtype=value.dtype, device=value.device)
        return start.index_add(-1, self.group_idx, value)

    def get_posterior(self, value: Tensor) -> Normal:
        """The distribution of the groups' means, given the numbers."""
        weight = self.obs_scale.square().reciprocal().expand(value.shape)
        prior = self.prior_scale.square().reciprocal()
        precision = prior + self._sums(weight)
        mean = (prior * self.prior_loc + self._sums(weight * value)) / precision
        return Normal(mean, precision.rsqrt(), validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        means = self.prior_loc + self.prior_scale * normal(self.prior_loc, shape + self.prior_loc.shape)
        return means[..., self.group_idx] + self.obs_scale * normal(self.prior_loc, self._extended_shape(shape))

    def _log_density(self, value: Tensor) -> Tensor:
        away = value - self.mean
        weight = self.obs_scale.square().reciprocal().expand(away.shape)
        spread = self.prior_scale.square()
        total = self._sums(weight)
        growth = 1 + spread * total
        # By the mean of each group, and by what is left within: no difference of sums of squares.
        means = self._sums(weight * away) / torch.where(total == 0, 1.0, total)
        within = weight * (away - means[..., self.group_idx]).square() + 2 * torch.log(self.obs_scale)
        between = means.square() * (total / growth) + torch.log(growth)
        return -0.5 * (within.sum(-1) + between.sum(-1) + len(self.group_idx) * math.log(2 * math.pi))
