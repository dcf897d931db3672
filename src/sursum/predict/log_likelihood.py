"""`log_likelihood`: the log probability of each observation at each draw of a posterior."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from sursum.core.calling import refuse_shadowed
from sursum.core.trace import Trace
from sursum.errors import PredictionError
from sursum.handlers.enumerate.enumerated import Enumerated
from sursum.predict.given_draws import Sampled
from sursum.predict.scores import Settings, scores
from sursum.predict.summed_likelihood import marginal_likelihoods


def log_likelihood(
    model: Callable[..., Any],
    posterior_samples: Sampled | Mapping[str, Tensor],
    /,
    *args: Any,
    chunk: int | None = None,
    batch_ndims: int | None = None,
    store: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> Mapping[str, Tensor]:
    r"""The pointwise log-likelihood, :math:`\log p(y_i \mid z^{(s)})` of every observation i at every draw s.

    Plates are not subsampled and no `scale` is applied; a masked observation has 0. Discrete sites without draws are summed
    out. Observations that depend on the same one have one likelihood, for each element of its plates: the labels of a
    mixture leave one number for each observation, the states of a hidden Markov chain one for each series. If they are of
    several sites its name is theirs, joined by " & ".

    Args:
        model: the program.
        posterior_samples: a `Posterior`, or a mapping from names of sites to draws.
        args, kwargs: arguments of the program, data included: those of the fit, or held-out ones.
        chunk: how many draws to evaluate at once; None chooses by the memory of one.
        batch_ndims: how many leading dimensions of the mapping's tensors count draws: 1 by default; a `Posterior` has 2.
        store: the store of a run, to whose group `log_likelihood` the results are written, in bounded memory; the result is
            read from there lazily. After a kill, repeating the call continues from what was written.

    Returns:
        For every observed site float64 of shape (chain, draw, *batch shape), or for a mapping (draw, *batch shape).

    Raises:
        StorageError: the store is not one of a run, or has that group already.
        PredictionError: nothing is observed, or a latent site has no draws.
        OptionError: the program has a parameter that is called `chunk`, `batch_ndims` or `store`.

    References:
        Vehtari, Gelman, Gabry (2017), Practical Bayesian model evaluation using leave-one-out cross-validation and
        WAIC, section 2.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> su.infer.log_likelihood(model, {"mu": torch.zeros(2)}, torch.tensor([0.0, 1.0]))["y"].round(decimals=4)
        tensor([[-0.9189, -1.4189],
                [-0.9189, -1.4189]], dtype=torch.float64)
    """
    refuse_shadowed(model, "log_likelihood", ["chunk", "batch_ndims", "store"])
    return pointwise(model, posterior_samples, args, kwargs, chunk=chunk, batch_ndims=batch_ndims, store=store)


def pointwise(
    model: Callable[..., Any],
    posterior_samples: Sampled | Mapping[str, Tensor],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    **settings: Unpack[Settings],
) -> Mapping[str, Tensor]:
    """`log_likelihood` of a program whose arguments stand apart from the options."""

    def read(found: Trace, at: Enumerated | None, plain: Callable[[str], torch.Size]) -> dict[str, Tensor]:
        if not found.observed:
            raise PredictionError(
                "the program observes nothing with these arguments, so there is no likelihood. Call it with its data."
            )
        return marginal_likelihoods(found, at, plain)

    return scores(read, model, posterior_samples, args, kwargs, group="log_likelihood", **settings)
