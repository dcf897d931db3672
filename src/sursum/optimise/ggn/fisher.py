r"""The Fisher information of a family in the tensors that its distribution holds, as a sum of squares.

For exponential families it is the Hessian of the negative log density in the natural parameters, whatever the tensors are, so
that with the Jacobian J of the tensors in the unknowns :math:`J^T F J` is the generalised Gauss–Newton matrix of the program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributions as td

from sursum.errors import OptimisationError

Column = tuple[Tensor, ...]


@dataclass(frozen=True)
class Root:
    r"""Tensors f of a distribution, and columns c with :math:`F = \sum_c c\,c^T` for every element of the batch.

    A column has a part for each tensor, of its shape.
    """

    tensors: tuple[Tensor, ...]
    columns: tuple[Column, ...]


def fisher_root(fn: Any, where: str) -> Root:
    """The root of the Fisher information of a distribution, without `Independent` and `Masked` around it.

    Raises:
        OptimisationError: the family has none here, or only with fixed parameters.

    Example:
        >>> import torch, sursum.distributions as dist
        >>> root = fisher_root(dist.Normal(torch.zeros(1), torch.tensor([2.0])), "site 'y'")
        >>> [[part.tolist() for part in column] for column in root.columns]
        [[[0.5], [0.0]], [[0.0], [0.7071067690849304]]]
    """
    for family, make in _FAMILIES:
        if isinstance(fn, family):
            found = make(fn, where)
            return Root(found[0], tuple(tuple(part.detach() for part in column) for column in found[1]))
    known = ", ".join(dict.fromkeys(family.__name__ for family, _ in _FAMILIES))
    raise OptimisationError(
        f"{where} is a {type(fn).__name__}, whose Fisher information is not known. Observe one of {known}, or take "
        '`hessian="empirical_fisher"` or, for few unknowns, `hessian="exact"`.'
    )


def _diagonal(tensors: tuple[Tensor, ...], roots: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], list[Column]]:
    """A diagonal information, given by the square roots of its elements."""
    zeros = [torch.zeros_like(tensor) for tensor in tensors]
    return tensors, [(*zeros[:i], root.expand_as(tensors[i]), *zeros[i + 1 :]) for i, root in enumerate(roots)]


def _check_fixed(value: Any, name: str, fn: Any, where: str) -> None:
    if isinstance(value, Tensor) and value.requires_grad:
        raise OptimisationError(
            f"`{name}` of the {type(fn).__name__} of {where} depends on the unknowns, and the Fisher information of it is not "
            'known. Give it a fixed value, or take `hessian="empirical_fisher"` or `hessian="exact"`.'
        )


def _normal(fn: Any, where: str) -> Any:
    return _diagonal((fn.loc, fn.scale), (1.0 / fn.scale, 2.0**0.5 / fn.scale))


def _laplace(fn: Any, where: str) -> Any:
    return _diagonal((fn.loc, fn.scale), (1.0 / fn.scale, 1.0 / fn.scale))


def _student(fn: Any, where: str) -> Any:
    _check_fixed(fn.df, "df", fn, where)
    more = 1.0 / (fn.df + 3.0)
    return _diagonal((fn.loc, fn.scale), (((fn.df + 1.0) * more).sqrt() / fn.scale, (2.0 * fn.df * more).sqrt() / fn.scale))


def _bernoulli(fn: Any, where: str) -> Any:
    count = getattr(fn, "total_count", torch.ones(()))
    _check_fixed(count, "total_count", fn, where)
    spread = fn.probs * (1.0 - fn.probs)
    if "logits" in vars(fn):
        return _diagonal((fn.logits,), ((count * spread).sqrt(),))
    return _diagonal((fn.probs,), ((count / spread).sqrt(),))


def _negative_binomial(fn: Any, where: str) -> Any:
    _check_fixed(fn.total_count, "total_count", fn, where)
    if "logits" in vars(fn):
        return _diagonal((fn.logits,), ((fn.total_count * fn.probs).sqrt(),))
    return _diagonal((fn.probs,), ((fn.total_count / fn.probs).sqrt() / (1.0 - fn.probs),))


def _categorical(fn: Any, where: str) -> Any:
    count = torch.as_tensor(getattr(fn, "total_count", 1.0), dtype=fn.probs.dtype)
    inner = getattr(fn, "_categorical", fn)
    root = (count * inner.probs).sqrt()
    units = torch.eye(inner.probs.shape[-1], dtype=inner.probs.dtype, device=inner.probs.device)
    if "logits" in vars(inner):
        return (inner.logits,), [((unit - inner.probs) * root[..., k, None],) for k, unit in enumerate(units)]
    columns = [(unit * (count / inner.probs.clamp(min=1e-300)).sqrt(),) for unit in units]
    return (inner.probs,), columns


def _poisson(fn: Any, where: str) -> Any:
    return _diagonal((fn.rate,), (fn.rate.rsqrt(),))


def _exponential(fn: Any, where: str) -> Any:
    return _diagonal((fn.rate,), (1.0 / fn.rate,))


def _gamma(fn: Any, where: str) -> Any:
    a, rate = fn.concentration, fn.rate
    first = torch.polygamma(1, a).sqrt()
    cross = -1.0 / (rate * first)
    rest = (a / rate.square() - cross.square()).clamp(min=0.0).sqrt()
    return (a, rate), [(first, cross), (torch.zeros_like(a), rest)]


def _multivariate_normal(fn: Any, where: str) -> Any:
    _check_fixed(fn._unbroadcasted_scale_tril, "scale_tril", fn, where)
    eye = torch.eye(fn.loc.shape[-1], dtype=fn.loc.dtype, device=fn.loc.device)
    inverse = torch.linalg.solve_triangular(fn._unbroadcasted_scale_tril, eye, upper=False)
    return (fn.loc,), [(inverse[..., k, :].expand_as(fn.loc),) for k in range(len(eye))]


_FAMILIES: tuple[tuple[type, Callable[[Any, str], Any]], ...] = (
    (td.Normal, _normal),
    (td.LogNormal, _normal),
    (td.Laplace, _laplace),
    (td.StudentT, _student),
    (td.Bernoulli, _bernoulli),
    (td.Binomial, _bernoulli),
    (td.NegativeBinomial, _negative_binomial),
    (td.Categorical, _categorical),
    (td.OneHotCategorical, _categorical),
    (td.Multinomial, _categorical),
    (td.Poisson, _poisson),
    (td.Exponential, _exponential),
    (td.Gamma, _gamma),
    (td.MultivariateNormal, _multivariate_normal),
)
