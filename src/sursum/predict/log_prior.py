"""`log_prior`: the log density of each latent site under its prior, at each draw of a posterior."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from sursum.core.calling import refuse_shadowed
from sursum.core.messages import Sample
from sursum.core.trace import Trace, scored
from sursum.errors import PredictionError
from sursum.handlers.enumerate.enumerated import Enumerated
from sursum.predict.given_draws import Sampled
from sursum.predict.scores import Settings, scores


def log_prior(
    model: Callable[..., Any],
    posterior_samples: Sampled | Mapping[str, Tensor],
    /,
    *args: Any,
    chunk: int | None = None,
    batch_ndims: int | None = None,
    store: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> Mapping[str, Tensor]:
    r"""The log prior density of each latent site, :math:`\log p(z_j^{(s)} \mid z_{<j}^{(s)})` at every draw s.

    A site of a hierarchical model is scored given its parents, so that the sum of all is the log density of the joint prior.
    Plates are not subsampled and no `scale` is applied. Discrete sites that are summed out have none, nor do sites whose prior
    depends on one of these.

    Args:
        model: the program.
        posterior_samples: a `Posterior`, or a mapping from names of sites to draws.
        args, kwargs: arguments of the program, those of the fit.
        chunk: how many draws to evaluate at once; None chooses by the memory of one.
        batch_ndims: how many leading dimensions of the mapping's tensors count draws: 1 by default; a `Posterior` has 2.
        store: the store of a run, to whose group `log_prior` the results are written, in bounded memory.

    Returns:
        For every latent site float64 of shape (chain, draw, *batch shape), or for a mapping (draw, *batch shape).

    Raises:
        StorageError: the store is not one of a run, or has that group already.
        PredictionError: a latent site has no draws, or there is no latent site that is not summed out.
        OptionError: the program has a parameter that is called `chunk`, `batch_ndims` or `store`.

    References:
        Kallioinen, Paananen, Bürkner, Vehtari (2024), Detecting and diagnosing prior and likelihood sensitivity with
        power-scaling, Statistics and Computing 34, section 2.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model():
        ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
        ...     su.sample("theta", dist.Normal(mu, 1.0).expand([2]).to_event(1))
        >>> draws = {"mu": torch.tensor([0.0, 1.0]), "theta": torch.zeros(2, 2)}
        >>> found = su.infer.log_prior(model, draws)
        >>> found["mu"].round(decimals=4), found["theta"].round(decimals=4)
        (tensor([-0.9189, -1.4189], dtype=torch.float64), tensor([-1.8379, -2.8379], dtype=torch.float64))
    """
    refuse_shadowed(model, "log_prior", ["chunk", "batch_ndims", "store"])
    return priors_at_draws(model, posterior_samples, args, kwargs, chunk=chunk, batch_ndims=batch_ndims, store=store)


def priors_at_draws(
    model: Callable[..., Any],
    posterior_samples: Sampled | Mapping[str, Tensor],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    scaled: bool = False,
    **settings: Unpack[Settings],
) -> Mapping[str, Tensor]:
    """`log_prior` of a program whose arguments stand apart from the options; `scaled` if the scales of handlers apply."""

    def read(found: Trace, at: Enumerated | None, plain: Callable[[str], torch.Size]) -> dict[str, Tensor]:
        latent = _latent(found, at)
        if not latent:
            raise PredictionError("the program has no latent site with a prior of its own, so there is no log prior.")
        return {name: scored(site if scaled else site.but(scale=1.0)).double() for name, site in latent.items()}

    return scores(read, model, posterior_samples, args, kwargs, group="log_prior", **settings)


def _latent(found: Trace, at: Enumerated | None) -> dict[str, Sample]:
    summed = () if at is None else at.summed
    return {n: s for n, s in found.stochastic.items() if n not in summed and not s.infer.get("is_subsample")}
