"""Statistics of draws: quantiles, intervals, effective sample sizes, R-hat, WAIC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, overload

import torch
from torch import Tensor


@overload
def quantile(input: Tensor, probs: float, dim: int = 0) -> Tensor: ...
@overload
def quantile(input: Tensor, probs: Sequence[float] | Tensor, dim: int = 0) -> Tensor: ...
def quantile(input: Tensor, probs: Any, dim: int = 0) -> Tensor:
    """Quantiles along a dimension, linear between draws: with several `probs` along that dimension.

    Example:
        >>> quantile(torch.arange(5.0), [0.25, 0.5])
        tensor([1., 2.])
    """
    levels = torch.as_tensor(probs, dtype=input.dtype, device=input.device)
    ordered = input.sort(dim).values
    at = (input.shape[dim] - 1) * levels.reshape(-1)
    low, high = at.floor().long(), at.ceil().long()
    shape = [1] * input.dim()
    shape[dim] = -1
    part = (at - low).reshape(shape)
    found = torch.lerp(ordered.index_select(dim, low), ordered.index_select(dim, high), part)
    return found if levels.dim() else found.squeeze(dim)


def pi(input: Tensor, prob: float, dim: int = 0) -> Tensor:
    """The central interval of probability `prob`: two quantiles along `dim`."""
    return quantile(input, [(1 - prob) / 2, (1 + prob) / 2], dim)


def hpdi(input: Tensor, prob: float, dim: int = 0) -> Tensor:
    """The narrowest interval that has the share `prob` of the draws: its ends along `dim`.

    Example:
        >>> hpdi(torch.tensor([0.0, 1.0, 1.1, 1.2, 9.0]), 0.5)
        tensor([1.0000, 1.2000])
    """
    ordered = input.sort(dim).values
    count = input.shape[dim]
    width = min(max(math.floor(prob * count), 1), count - 1)
    low = ordered.index_select(dim, torch.arange(count - width, device=input.device))
    high = ordered.index_select(dim, torch.arange(width, count, device=input.device))
    first = (high - low).argmin(dim, keepdim=True)
    return torch.cat([low.gather(dim, first), high.gather(dim, first)], dim)


def resample(input: Tensor, num_samples: int, dim: int = 0, replacement: bool = False) -> Tensor:
    """Draws from the draws along a dimension."""
    weights = torch.ones(input.shape[dim], device=input.device)
    return input.index_select(dim, torch.multinomial(weights, num_samples, replacement))


def autocovariance(input: Tensor, dim: int = 0) -> Tensor:
    """Autocovariances at all lags along a dimension, each divided by the number of pairs."""
    count = input.shape[dim]
    centred = (input - input.mean(dim, keepdim=True)).transpose(dim, -1)
    size = 1 << (2 * count - 1).bit_length()
    power = torch.fft.rfft(centred, n=size).abs().square()
    found: Tensor = torch.fft.irfft(power, n=size)[..., :count]
    found = found / torch.arange(count, 0, -1, dtype=input.dtype, device=input.device)
    return found.transpose(dim, -1)


def autocorrelation(input: Tensor, dim: int = 0) -> Tensor:
    """`autocovariance`, divided by that of lag 0."""
    found = autocovariance(input, dim)
    return found / found.narrow(dim, 0, 1)


def gelman_rubin(input: Tensor, chain_dim: int = 0, sample_dim: int = 1) -> Tensor:
    """R-hat: the square root of the ratio of the pooled variance to that within chains."""
    chains = input.movedim((chain_dim % input.dim(), sample_dim % input.dim()), (0, 1))
    within, pooled = _variances(chains)
    return (pooled / within).sqrt()


def split_gelman_rubin(input: Tensor, chain_dim: int = 0, sample_dim: int = 1) -> Tensor:
    """R-hat of the halves of chains."""
    chains = input.movedim((chain_dim % input.dim(), sample_dim % input.dim()), (0, 1))
    half = chains.shape[1] // 2
    halves = torch.stack([chains[:, :half], chains[:, -half:]], 1).flatten(0, 1)
    return gelman_rubin(halves, 0, 1)


def _variances(chains: Tensor) -> tuple[Tensor, Tensor]:
    count = chains.shape[1]
    within = chains.var(1).mean(0)
    pooled = within * (count - 1) / count
    if len(chains) > 1:
        pooled = pooled + chains.mean(1).var(0)
    return within, pooled


def effective_sample_size(input: Tensor, chain_dim: int = 0, sample_dim: int = 1) -> Tensor:
    """How many independent draws the draws of chains are worth, by Geyer's initial monotone sequence.

    References:
        Geyer, "Practical Markov chain Monte Carlo" (1992); Gelman et al., *Bayesian Data Analysis* (2013), section 11.5.
    """
    chains = input.movedim((chain_dim % input.dim(), sample_dim % input.dim()), (0, 1))
    total, count = chains.shape[0] * chains.shape[1], chains.shape[1]
    covariance = autocovariance(chains, 1).mean(0)
    within, pooled = _variances(chains)
    rho = 1 - (within - covariance) / pooled
    rho = torch.cat([torch.ones_like(rho[:1]), rho[1:]])
    pairs = rho[: count // 2 * 2].unflatten(0, (-1, 2)).sum(1)
    pairs = torch.cat([pairs[:1], torch.where(pairs[1:] > 0, pairs[1:], torch.zeros_like(pairs[1:]))])
    falling = (pairs > 0).to(pairs.dtype).cumprod(0)
    monotone = (pairs * falling).cummin(0).values
    return total / (-1 + 2 * monotone.sum(0))


def waic(input: Tensor, log_weights: Tensor | None = None, pointwise: bool = False, dim: int = 0) -> tuple[Tensor, Tensor]:
    """The widely applicable information criterion, −2 (lppd − p), and the number p of effective parameters.

    Args:
        input: log likelihoods of the data, at draws along `dim`.
        log_weights: of the draws; equal if left out.
        pointwise: keep the data apart.
    """
    if log_weights is None:
        log_weights = torch.zeros(input.shape[dim], dtype=input.dtype)
    shape = [1] * input.dim()
    shape[dim] = -1
    logs = (log_weights - log_weights.logsumexp(0)).reshape(shape)
    lppd = (input + logs).logsumexp(dim)
    mean = (input * logs.exp()).sum(dim, keepdim=True)
    effective = ((input - mean).square() * logs.exp()).sum(dim)
    # As unbiased as a variance of draws of equal weights.
    effective = effective / (1 - logs.exp().square().sum())
    found = -2 * (lppd - effective)
    return (found, effective) if pointwise else (found.sum(), effective.sum())


def crps_empirical(pred: Tensor, truth: Tensor) -> Tensor:
    """The continuous ranked probability score of draws along the first dimension: E|X − y| − ½ E|X − X′|.

    Example:
        >>> crps_empirical(torch.tensor([0.0, 2.0]), torch.tensor(1.0))
        tensor(0.5000)
    """
    count = len(pred)
    ordered = pred.sort(0).values
    gaps = ordered[1:] - ordered[:-1]
    weight = torch.arange(1, count, dtype=pred.dtype) * torch.arange(count - 1, 0, -1, dtype=pred.dtype)
    spread = (gaps * weight.reshape(-1, *[1] * (pred.dim() - 1))).sum(0) / count**2
    return (pred - truth).abs().mean(0) - spread


def energy_score_empirical(pred: Tensor, truth: Tensor) -> Tensor:
    """The energy score of draws of vectors along the first dimension: E‖X − y‖ − ½ E‖X − X′‖."""
    flat = pred.movedim(0, -2)
    spread = torch.cdist(flat, flat).mean((-1, -2)) / 2
    away: Tensor = (pred - truth).norm(dim=-1)
    return away.mean(0) - spread


def weighed_quantile(input: Tensor, probs: Sequence[float] | Tensor, log_weights: Tensor, dim: int = 0) -> Tensor:
    """Quantiles of weighted draws along a dimension: the first draw whose cumulated weight reaches the probability."""
    ordered, order = input.sort(dim)
    weights = (log_weights - log_weights.logsumexp(0)).exp()[order]
    cumulated = weights.cumsum(dim)
    levels = torch.as_tensor(probs, dtype=input.dtype)
    found = []
    for level in levels.reshape(-1):
        index = (cumulated < level).sum(dim, keepdim=True).clamp(max=input.shape[dim] - 1)
        found.append(ordered.gather(dim, index))
    return torch.cat(found, dim)
