"""`DiscreteHMM`: a series whose distribution depends on a hidden state, which is summed out."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.distributions.associative import Elements, reduce_all
from sursum.distributions.family import Family
from sursum.distributions.standard import Categorical
from sursum.distributions.supports import support_of
from sursum.errors import DensityError


class DiscreteHMM(Family):
    r"""A series of T values with a hidden Markov chain of S states, which is summed out:

    .. math:: z_0 \sim \pi, \qquad z_t \sim A_{z_{t-1}}, \qquad y_t \sim p(y \mid z_t), \qquad t = 1, \dots, T

    The sum takes a number of steps that grows with log T, of products of S × S matrices of logarithms.

    Args:
        initial_logits: of π, the state before the first transition, shape (…, S).
        transition_logits: of the rows of A, shape (…, S, S), or (…, T, S, S) where it changes in time. Logits are normalised.
        observation_dist: the distribution of a value in each state, with batch shape (…, S), or (…, T, S).
        duration: T, needed where nothing changes in time and draws are wanted.

    References:
        Rabiner (1989), A tutorial on hidden Markov models, section III. Särkkä, García-Fernández (2021), Temporal
        parallelization of Bayesian smoothers.

    Example:
        >>> import sursum.distributions as dist
        >>> fn = DiscreteHMM(torch.zeros(2), torch.zeros(2, 2), dist.Normal(torch.tensor([-1.0, 1.0]), 1.0), duration=3)
        >>> fn.log_prob(torch.zeros(3))
        tensor(-4.2568)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "initial_logits": constraints.real_vector,
        "transition_logits": constraints.independent(constraints.real, 3),
    }
    initial_logits: Tensor
    transition_logits: Tensor
    observation_dist: Any

    def __init__(
        self,
        initial_logits: Tensor,
        transition_logits: Tensor,
        observation_dist: Distribution,
        duration: int | None = None,
        validate_args: bool | None = None,
    ) -> None:
        states = initial_logits.shape[-1]
        seen = observation_dist.batch_shape
        if seen[-1:] != (states,) or transition_logits.shape[-2:] != (states, states):
            raise DensityError(
                f"a DiscreteHMM of {states} states takes transition logits of shape (…, {states}, {states}) and a distribution "
                f"of batch shape (…, {states}), but got {tuple(transition_logits.shape)} and {tuple(seen)}."
            )
        self.duration = duration
        wide = transition_logits if transition_logits.dim() > 2 else transition_logits.unsqueeze(-3)
        lengths = {wide.shape[-3], seen[-2] if len(seen) > 1 else 1, duration or 1} - {1}
        if len(lengths) > 1:
            raise DensityError(f"the parts of a DiscreteHMM have different lengths in time: {sorted(lengths)}.")
        self.duration = lengths.pop() if lengths else duration
        length = self.duration or 1
        # The dimensions of time and states belong to the event.
        inner = observation_dist.expand(torch.Size([*seen[:-2], length, states]))
        batch = torch.broadcast_shapes(initial_logits.shape[:-1], wide.shape[:-3], seen[:-2])
        self._keep(
            (length, *observation_dist.event_shape),
            validate_args,
            initial_logits=initial_logits.log_softmax(-1).expand((*batch, states)),
            transition_logits=wide.log_softmax(-1).expand((*batch, length, states, states)),
        )
        self.observation_dist = inner.expand(torch.Size([*batch, length, states]))

    @constraints.dependent_property
    def support(self) -> Any:
        inner = support_of(self.observation_dist)
        return constraints.independent(inner, len(self.event_shape) - inner.event_dim)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        state = Categorical(logits=self.initial_logits, validate_args=False).sample(shape)
        states = []
        for t in range(self.event_shape[0]):
            rows = self.transition_logits[..., t, :, :].expand((*state.shape, *self.transition_logits.shape[-2:]))
            index = state[..., None, None].expand((*state.shape, 1, rows.shape[-1]))
            state = Categorical(logits=rows.gather(-2, index).squeeze(-2), validate_args=False).sample()
            states.append(state)
        drawn = torch.as_tensor(self.observation_dist.sample(shape))
        events = len(self.event_shape) - 1
        index = torch.stack(states, -1).unsqueeze(-1)
        dim = drawn.dim() - events - 1
        index = index.reshape(*index.shape, *(1,) * events).expand(*drawn.shape[:dim], 1, *drawn.shape[dim + 1 :])
        return drawn.gather(dim, index).squeeze(dim)

    def _log_density(self, value: Tensor) -> Tensor:
        events = len(self.event_shape) - 1
        seen = torch.as_tensor(self.observation_dist.log_prob(value.unsqueeze(-1 - events)))
        steps = self.transition_logits + seen.unsqueeze(-2)
        (product,) = reduce_all(_multiply, (steps.movedim(-3, 0),))
        return torch.logsumexp(self.initial_logits.unsqueeze(-1) + product, (-2, -1))


def _multiply(left: Elements, right: Elements) -> Elements:
    """Products of matrices of logarithms."""
    return (torch.logsumexp(left[0].unsqueeze(-1) + right[0].unsqueeze(-3), -2),)
