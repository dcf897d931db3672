"""`GaussianHMM`, `GaussianStateSpace`: linear models of hidden normal states, which are integrated out."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, constraints

from sursum.distributions.associative import Elements, scan_all
from sursum.distributions.constraints import RealOrNan
from sursum.distributions.family import Family, normal
from sursum.errors import DensityError


class GaussianStateSpace(Family):
    r"""A series of T vectors y of dimension m, by hidden states x of dimension n, which are integrated out:

    .. math:: x_0 \sim N(\mu_0, P_0), \qquad x_t = F x_{t-1} + c + q_t, \qquad y_t = H x_t + d + r_t, \qquad
        q_t \sim N(0, Q), \quad r_t \sim N(0, R)

    An element of y that is NaN is missing, and integrated out. The Kalman filter of all times runs in a number of steps that
    grows with log T.

    Args:
        transition_matrix: F, shape (…, n, n); (…, T, n, n) where it changes in time.
        transition_covariance: Q, shape (…, n, n), positive semidefinite.
        observation_matrix: H, shape (…, m, n); (…, T, m, n) where it changes in time.
        observation_covariance: R, shape (…, m, m), positive definite.
        num_steps: T.
        initial_loc: μ₀, shape (…, n); 0 by default.
        initial_covariance: P₀, shape (…, n, n); the identity by default. The state x₀ is before the first transition.
        transition_loc: c, shape (…, n).
        observation_loc: d, shape (…, m).

    References:
        Särkkä, García-Fernández (2021), Temporal parallelization of Bayesian smoothers, section III. Durbin, Koopman (2012),
        Time Series Analysis by State Space Methods, section 4.10, for missing data.

    Example:
        >>> one = torch.eye(1)
        >>> GaussianStateSpace(one, one, one, one, num_steps=2).log_prob(torch.tensor([[1.0], [torch.nan]]))
        tensor(-1.6349)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "transition_matrix": constraints.independent(constraints.real, 3),
        "transition_covariance": constraints.independent(constraints.real, 2),
        "observation_matrix": constraints.independent(constraints.real, 3),
        "observation_covariance": constraints.positive_definite,
        "initial_loc": constraints.real_vector,
        "initial_covariance": constraints.independent(constraints.real, 2),
        "transition_loc": constraints.real_vector,
        "observation_loc": constraints.real_vector,
    }
    support = RealOrNan(2)
    has_rsample = True
    transition_matrix: Tensor
    transition_covariance: Tensor
    observation_matrix: Tensor
    observation_covariance: Tensor
    initial_loc: Tensor
    initial_covariance: Tensor
    transition_loc: Tensor
    observation_loc: Tensor

    def __init__(
        self,
        transition_matrix: Tensor,
        transition_covariance: Tensor,
        observation_matrix: Tensor,
        observation_covariance: Tensor,
        num_steps: int,
        initial_loc: Tensor | None = None,
        initial_covariance: Tensor | None = None,
        transition_loc: Tensor | None = None,
        observation_loc: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        n, m = transition_matrix.shape[-1], observation_matrix.shape[-2]
        shapes = (transition_covariance, (n, n)), (observation_matrix, (m, n)), (observation_covariance, (m, m))
        wrong = [f"{tuple(matrix.shape[-2:])} instead of {shape}" for matrix, shape in shapes if matrix.shape[-2:] != shape]
        if wrong:
            raise DensityError(f"matrices of a state space model of {n} states and {m} outputs have shapes {', '.join(wrong)}.")
        like = transition_matrix
        moving = [matrix if matrix.dim() > 2 else matrix.unsqueeze(-3) for matrix in (transition_matrix, observation_matrix)]
        self._keep(
            (int(num_steps), m),
            validate_args,
            transition_matrix=moving[0].expand((*moving[0].shape[:-3], num_steps, n, n)),
            transition_covariance=transition_covariance,
            observation_matrix=moving[1].expand((*moving[1].shape[:-3], num_steps, m, n)),
            observation_covariance=observation_covariance,
            initial_loc=like.new_zeros(n) if initial_loc is None else initial_loc,
            initial_covariance=torch.eye(n, dtype=like.dtype) if initial_covariance is None else initial_covariance,
            transition_loc=like.new_zeros(n) if transition_loc is None else transition_loc,
            observation_loc=like.new_zeros(m) if observation_loc is None else observation_loc,
        )

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))[:-2]
        n, (steps, m) = self.initial_loc.shape[-1], self.event_shape
        roots = [_root(part) for part in (self.initial_covariance, self.transition_covariance, self.observation_covariance)]
        state = self.initial_loc + _apply(roots[0], normal(self.initial_loc, torch.Size([*shape, n])))
        found = []
        for t in range(steps):
            noise = _apply(roots[1], normal(self.initial_loc, torch.Size([*shape, n])))
            state = _apply(self.transition_matrix[..., t, :, :], state) + self.transition_loc + noise
            error = _apply(roots[2], normal(self.initial_loc, torch.Size([*shape, m])))
            found.append(_apply(self.observation_matrix[..., t, :, :], state) + self.observation_loc + error)
        return torch.stack(found, -2)

    def filter(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """The means, shape (…, T, n), and covariances of each state given the values up to its time."""
        _, means, covariances = self._filter(value)
        return means, covariances

    def _log_density(self, value: Tensor) -> Tensor:
        return self._filter(value)[0]

    def _filter(self, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        there = ~torch.isnan(value)
        eye = torch.eye(value.shape[-1], dtype=value.dtype, device=value.device)
        y = torch.where(there, torch.where(there, value, 0.0) - self.observation_loc.unsqueeze(-2), 0.0)
        both = there.unsqueeze(-1) & there.unsqueeze(-2)
        # In the place of a missing element stands one of variance 1 that depends on nothing, and is 0.
        noise = torch.where(both, self.observation_covariance.unsqueeze(-3), eye)
        seen = torch.where(there.unsqueeze(-1), self.observation_matrix, 0.0)
        moves, drift, spread = self.transition_matrix, self.transition_loc, self.transition_covariance
        n = moves.shape[-1]
        batch = seen.shape[:-3]
        moves = moves.expand((*batch, *moves.shape[-3:]))
        spread = spread.unsqueeze(-3).expand((*moves.shape[:-2], n, n))
        # The first state has its own prior, the initial one moved by a step: its element has no dependence on what was before.
        first = moves[..., 0, :, :]
        start = _apply(first, self.initial_loc) + drift
        start_spread = first @ self.initial_covariance @ first.mT + spread[..., 0, :, :]
        elements = _elements(y, seen, noise, moves, drift, spread, start, start_spread)
        in_front = tuple(part.movedim(-2 if k in (1, 3) else -3, 0) for k, part in enumerate(elements))
        _, means, covariances, _, _ = scan_all(_combine, in_front)
        means, covariances = means.movedim(0, -2), covariances.movedim(0, -3)
        before = (moves[..., 1:, :, :] @ means[..., :-1, :].unsqueeze(-1)).squeeze(-1) + drift.unsqueeze(-2)
        predicted = torch.cat([start.unsqueeze(-2).expand((*batch, 1, n)), before], -2)
        ahead = moves[..., 1:, :, :] @ covariances[..., :-1, :, :] @ moves[..., 1:, :, :].mT + spread[..., 1:, :, :]
        wide = torch.cat([start_spread.unsqueeze(-3).expand((*batch, 1, n, n)), ahead], -3)
        away = y - (seen @ predicted.unsqueeze(-1)).squeeze(-1)
        factor = torch.linalg.cholesky(seen @ wide @ seen.mT + noise)
        z: Tensor = torch.linalg.solve_triangular(factor, away.unsqueeze(-1), upper=False).squeeze(-1)
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        count = there.to(value.dtype).sum(-1)
        terms = -z.square().sum(-1) / 2 - log_det - count * (0.5 * math.log(2 * math.pi))
        return terms.sum(-1), means, covariances


class GaussianHMM(GaussianStateSpace):
    r"""A `GaussianStateSpace` by its distributions, with vectors as rows:

    .. math:: z_0 \sim p_0, \qquad z_t = z_{t-1} F + q_t, \qquad y_t = z_t H + r_t

    Args:
        initial_dist: the `MultivariateNormal` (or independent normal) distribution of the state before the first transition.
        transition_matrix: F, shape (…, n, n), or (…, T, n, n) where it changes in time.
        transition_dist: the distribution of q.
        observation_matrix: H, shape (…, n, m), or (…, T, n, m).
        observation_dist: the distribution of r.
        duration: T.

    Example:
        >>> import sursum.distributions as dist
        >>> noise = dist.Normal(torch.zeros(1), 1.0).to_event(1)
        >>> one = torch.eye(1)
        >>> GaussianHMM(noise, one, noise, one, noise, duration=2).log_prob(torch.tensor([[1.0], [torch.nan]]))
        tensor(-1.6349)
    """

    def __init__(
        self,
        initial_dist: Any,
        transition_matrix: Tensor,
        transition_dist: Any,
        observation_matrix: Tensor,
        observation_dist: Any,
        duration: int | None = None,
        validate_args: bool | None = None,
    ) -> None:
        lengths = {matrix.shape[-3] for matrix in (transition_matrix, observation_matrix) if matrix.dim() > 2} - {1}
        lengths |= {duration} - {None}  # type: ignore[arg-type]
        if len(lengths) != 1:
            raise DensityError(
                f"a GaussianHMM needs one length in time, of its matrices or `duration`, but has {sorted(lengths) or 'none'}."
            )
        start, moved, seen = (_moments(part) for part in (initial_dist, transition_dist, observation_dist))
        super().__init__(
            transition_matrix.mT,
            moved[1],
            observation_matrix.mT,
            seen[1],
            lengths.pop(),
            start[0],
            start[1],
            moved[0],
            seen[0],
            validate_args,
        )


def _moments(fn: Any) -> tuple[Tensor, Tensor]:
    """The mean and covariance of a normal distribution of vectors."""
    if isinstance(fn, MultivariateNormal):
        return fn.loc, fn.covariance_matrix
    if isinstance(fn, Independent) and isinstance(fn.base_dist, Normal) and fn.reinterpreted_batch_ndims == 1:
        return fn.base_dist.loc, torch.diag_embed(fn.base_dist.scale.square())
    raise DensityError(
        f"a GaussianHMM takes multivariate normal distributions, or normal ones with .to_event(1), not {type(fn).__name__}."
    )


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _root(covariance: Tensor) -> Tensor:
    """A square root, also of a singular matrix."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp(min=0.0).sqrt().unsqueeze(-2)
    return root


def _elements(
    y: Tensor, seen: Tensor, noise: Tensor, moves: Tensor, drift: Tensor, spread: Tensor, start: Tensor, start_spread: Tensor
) -> Elements:
    """For each time, the state given the one before and y, and what y says of the one before: (A, b, C, η, J)."""
    n = moves.shape[-1]
    eye = torch.eye(n, dtype=moves.dtype, device=moves.device)
    batch = seen.shape[:-3]
    prior = torch.cat([start_spread.unsqueeze(-3).expand((*batch, 1, n, n)), spread[..., 1:, :, :]], -3)
    mean = torch.cat(
        [start.unsqueeze(-2).expand((*batch, 1, n)), drift.unsqueeze(-2).expand((*batch, moves.shape[-3] - 1, n))], -2
    )
    moved = torch.cat([torch.zeros_like(moves[..., :1, :, :]), moves[..., 1:, :, :]], -3)
    factor = torch.linalg.cholesky(seen @ prior @ seen.mT + noise)
    gain = torch.cholesky_solve(seen @ prior, factor).mT
    left = eye - gain @ seen
    away = y - _apply(seen, mean)
    seen_before = seen @ moved
    information = torch.cholesky_solve(torch.cat([away.unsqueeze(-1), seen_before], -1), factor)
    eta = _apply(seen_before.mT, information[..., 0])
    joint = seen_before.mT @ information[..., 1:]
    covariance = left @ prior
    return left @ moved, mean + _apply(gain, away), (covariance + covariance.mT) / 2, eta, joint


def _combine(first: Elements, second: Elements) -> Elements:
    """Two elements as one: the state in the middle integrated out."""
    a1, b1, c1, eta1, j1 = first
    a2, b2, c2, eta2, j2 = second
    eye = torch.eye(a1.shape[-1], dtype=a1.dtype, device=a1.device)
    # (I + C₁ J₂)⁻¹ from the right of A₂, and its transpose from the right of A₁ᵀ.
    inner = torch.linalg.solve((eye + c1 @ j2).mT, a2.mT).mT
    outer = torch.linalg.solve((eye + j2 @ c1).mT, a1).mT
    covariance = inner @ c1 @ a2.mT + c2
    joint = outer @ j2 @ a1 + j1
    return (
        inner @ a1,
        _apply(inner, b1 + _apply(c1, eta2)) + b2,
        (covariance + covariance.mT) / 2,
        _apply(outer, eta2 - _apply(j2, b1)) + eta1,
        (joint + joint.mT) / 2,
    )
