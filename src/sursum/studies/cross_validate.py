r"""`cross_validate`: how well a program predicts data that it has not seen.

.. math:: \mathrm{elpd} = \sum_g \log p(y_g \mid y_{-g}), \quad
          p(y_g \mid y_{-g}) = \mathrm{E}_{z \sim p(z \mid y_{-g})} \prod_{i \in g} p(y_i \mid z)

What is left out is masked, not removed: the fits of all folds are one density on different data.

References:
    Vehtari, Gelman, Gabry (2017), Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC, sections
    2 and 3. Vehtari, Simpson, Gelman, Yao, Gabry (2024), Pareto smoothed importance sampling, JMLR 25.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sursum.cluster import Workers
from sursum.common.other_libraries import answers
from sursum.mcmc import MCMC
from sursum.studies.cross_validation import CrossValidation
from sursum.studies.fold_fits import check_place, cross_validate_all, part_fits


@answers(k="num_folds", folds="num_folds", group="groups")
def cross_validate(
    model: MCMC | Callable[..., Any],
    /,
    *args: Any,
    plate: str,
    num_folds: int | None = None,
    groups: Any = None,
    seed: int | None = None,
    on: Workers | None = None,
    progress: bool | None = None,
    **kwargs: Any,
) -> CrossValidation:
    """The expected log predictive density of the observations in a plate, each predicted from the others.

    With neither `num_folds` nor `groups` one element is left out at a time, with `groups` one group: from a single fit by
    Pareto-smoothed importance sampling, and by a fit of its own where that fails (k above 0.7). With `num_folds` each fold is
    left out by a fit of its own. Unknowns in the plate are drawn from their prior where they are left out, as those of a new
    element would be.

    Args:
        model: a sampler with its settings, or a program, which is sampled by NUTS with 2 chains of 500 + 500 draws.
        args, kwargs: the arguments of the program, with all of the data.
        plate: the name of the plate whose elements are left out.
        num_folds: how many random folds of equal size.
        groups: for each element of the plate the number or the name of its group.
        seed: of the folds and of all fits; by default that of the sampler, or one from torch's global generator.
        on: where the fits run: None for this process, `su.cluster.Local()` for its cores, `su.cluster.Ray()` for a cluster.
        progress: whether to show it; None shows it on a terminal or in a notebook.

    Raises:
        SamplingError: there is no such plate, nothing is observed in it, or the folds do not fit it; a fit failed.
        OptionError: the program has a parameter that is called like an option.
        TransportError: the program cannot be sent to a worker.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 10.0))
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> found = su.infer.cross_validate(model, torch.linspace(-1.0, 1.0, 10), plate="data", seed=0)
        >>> found.elpd_each.shape, round(found.elpd), found.refitted
        ((10,), -12, ())
    """
    check_place(on)
    fits = part_fits("cross_validate", model, args, kwargs, plate, num_folds, groups, seed, None if on is None else 1)
    return cross_validate_all({"": fits}, on, progress)[""]
