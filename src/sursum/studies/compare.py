r"""`compare`: which of several programs predicts best what it has not seen, and how to weight them.

References:
    Vehtari, Gelman, Gabry (2017), Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC, Statistics
    and Computing 27. Yao, Vehtari, Simpson, Gelman (2018), Using stacking to average Bayesian predictive distributions,
    Bayesian Analysis 13.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from sursum.cluster import Workers
from sursum.common.optional_packages import require
from sursum.common.other_libraries import answers
from sursum.common.shown import abbreviate
from sursum.common.tables import Table
from sursum.errors import OptionError, SamplingError
from sursum.mcmc import MCMC
from sursum.studies.cross_validation import CrossValidation
from sursum.studies.fold_fits import check_place, cross_validate_all, part_fits

Array = NDArray[np.float64]

STEPS = 20_000
"""The most steps in which the weights are found."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """Programs in the order of their expected log predictive density, the best first.

    Args:
        names: of the programs.
        elpd: of each, with its standard error `se`.
        difference: how much lower it is than that of the best, with its standard error `difference_se`: of the differences of
            single elements, in which most of the noise cancels.
        weights: of each, at which the mixture of their predictions is best (stacking); they sum to 1.
        refitted: how many elements or groups needed a fit of their own.
    """

    names: tuple[str, ...]
    elpd: Array
    se: Array
    difference: Array
    difference_se: Array
    weights: Array
    refitted: tuple[int, ...]

    def _table(self) -> Table:
        rows: list[tuple[str, ...]] = [("program", "elpd", "se", "difference", "se", "weight", "refitted")]
        for k, name in enumerate(self.names):
            numbers = (f"{column[k]:.1f}" for column in (self.elpd, self.se, self.difference, self.difference_se))
            rows.append((name, *numbers, f"{self.weights[k]:.2f}", str(self.refitted[k])))
        return Table(rows)

    def __str__(self) -> str:
        return str(self._table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self._table()._repr_html_()

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """A plot of the differences, with one standard error.

        Returns:
            The matplotlib figure, which is also written to `path`, if there is one.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        figures = require("matplotlib.figure", "A picture")
        figure = figures.Figure(figsize=(5.2, 0.45 * len(self.names) + 1.0), layout="constrained")
        axes = figure.subplots()
        rows = np.arange(len(self.names))[::-1]
        axes.axvline(0.0, color="0.8", linewidth=0.8)
        axes.errorbar(-self.difference, rows, xerr=self.difference_se, fmt="o", color="C0", markersize=5, linewidth=1.4)
        axes.set_yticks(rows, self.names)
        axes.set_ylim(-0.6, len(self.names) - 0.4)
        axes.set_xlabel("log predictive density of new data, beside the best")
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


@answers(k="num_folds", folds="num_folds", group="groups")
def compare(
    programs: Mapping[str, CrossValidation | MCMC | Callable[..., Any]],
    /,
    *args: Any,
    plate: str | None = None,
    num_folds: int | None = None,
    groups: Any = None,
    seed: int | None = None,
    on: Workers | None = None,
    progress: bool | None = None,
    **kwargs: Any,
) -> Comparison:
    r"""Compare programs by what they predict of data that they have not seen.

    .. math:: \mathrm{elpd}_k = \sum_i \log p_k(y_i \mid y_{-i}), \qquad
        w = \operatorname{argmax}_w \sum_i \log \sum_k w_k\, p_k(y_i \mid y_{-i})

    A difference is worth talking about where it is above 4 and a few of its standard errors; below, prefer the simpler program.

    Args:
        programs: by name, either results of `cross_validate`, of the same data left out in the same way, or samplers and
            programs, which are cross-validated here, all with the same arguments. Where importance sampling fails there are
            refits, so that every number is exact up to the noise of its draws.
        args, kwargs: the arguments of the programs, with all of the data; for programs only, as all that follows.
        plate, num_folds, groups: what is left out, as in `cross_validate`.
        seed: of the folds and of all fits; by default that of the first sampler which has one, or one from torch's global
            generator.
        on: where the fits of all programs run together: None for this process, `su.cluster.Local()` for its cores,
            `su.cluster.Ray()` for a cluster.
        progress: whether to show it; None shows it on a terminal or in a notebook.

    Raises:
        OptionError: fewer than two, or something else; an option that does not go with results; a program has a parameter that
            is called like an option.
        SamplingError: they are of different data, or of different folds; or a density of left-out data is NaN, or zero.
        TransportError: a program cannot be sent to a worker.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(x, y, slope):
        ...     mu = su.sample("a", dist.Normal(0.0, 1.0)) + (su.sample("b", dist.Normal(0.0, 1.0)) * x if slope else 0.0)
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, 0.5), obs=y)
        >>> x = torch.linspace(-1.0, 1.0, 20)
        >>> from functools import partial
        >>> ones = {"line": partial(model, slope=True), "level": partial(model, slope=False)}
        >>> found = su.infer.compare(ones, x, 2 * x, plate="data", seed=0)
        >>> found.names, found.weights.round()
        (('line', 'level'), array([1., 0.]))
    """
    place = {"plate": plate, "num_folds": num_folds, "groups": groups, "seed": seed, "on": on, "progress": progress}
    if not isinstance(programs, Mapping) or len(programs) < 2:
        raise _too_few(programs)
    for name in programs:
        if not isinstance(name, str):
            raise OptionError(f"`compare` got a program with the name {name!r}, but names are strings.")
    results = {name: one for name, one in programs.items() if isinstance(one, CrossValidation)}
    if len(results) == len(programs):
        given = [repr(f"argument {k + 1}") for k in range(len(args))] + [
            f"`{name}`" for name, value in {**place, **kwargs}.items() if value is not None
        ]
        if given:
            raise OptionError(
                f"`compare` got {given[0]} together with results of `cross_validate`, which need nothing more. Give it to "
                "`cross_validate`, or programs in place of their results."
            )
        return _compared(results)
    if results or not all(callable(one) or isinstance(one, MCMC) for one in programs.values()):
        raise _too_few(programs)
    if plate is None:
        raise OptionError('`compare` needs the name of the plate whose elements are left out: plate="data".')
    check_place(on)
    seeds = (one.seed for one in programs.values() if isinstance(one, MCMC) and one.seed is not None)
    common = seed if seed is not None else next(seeds, None)
    common = int(torch.randint(2**31, ())) if common is None else common
    what = (plate, num_folds, groups, common, None if on is None else 1)
    fits = {name: part_fits("compare", cast(Any, one), args, kwargs, *what) for name, one in programs.items()}
    return _compared(cross_validate_all(fits, on, progress))


def _too_few(programs: Any) -> OptionError:
    return OptionError(
        f"`compare` got {abbreviate(programs)}, but needs at least two programs by name, or at least two results of "
        '`cross_validate`: {"pooled": su.infer.cross_validate(…), "hierarchical": su.infer.cross_validate(…)}.'
    )


def _compared(programs: Mapping[str, CrossValidation]) -> Comparison:
    for name, one in programs.items():
        _check(name, one)
    names = sorted(programs, key=lambda name: -programs[name].elpd)
    ones = [programs[name] for name in names]
    against = [ones[0].difference(one) for one in ones]
    return Comparison(
        tuple(names),
        np.array([one.elpd for one in ones]),
        np.array([one.se for one in ones]),
        np.array([difference for difference, _ in against]),
        np.array([se for _, se in against]),
        stacking_weights(np.stack([one.elpd_each for one in ones])),
        tuple(len(one.refitted) for one in ones),
    )


def _check(name: str, one: CrossValidation) -> None:
    wrong = np.flatnonzero(~np.isfinite(one.elpd_each))
    if len(wrong):
        found = float(np.ravel(one.elpd_each)[wrong[0]])
        raise SamplingError(
            f"program {name!r} gives element {wrong[0]} of the data left out a log predictive density of {found}, with which "
            "no other can be compared. Look at that element: it may lie outside of the support, or its fit may have failed."
        )


def stacking_weights(elpd: Array) -> Array:
    """The weights of a mixture, given the log predictive densities (program, element): the maximum is global, found by EM."""
    density = np.exp(elpd - elpd.max(axis=0))
    weights = np.full(len(elpd), 1.0 / len(elpd))
    for _ in range(STEPS):
        share = density / (weights @ density)
        # Where all mean ratios are at most 1 the weights are the best: Karush, Kuhn and Tucker.
        gain = share.mean(axis=1)
        weights = weights * gain
        if gain.max() < 1.0 + 1e-7:
            break
    found: Array = weights / weights.sum()
    return found
