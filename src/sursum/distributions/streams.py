r"""Random numbers by counting: each row of a batch draws from a stream of its own, all rows at once.

Number e of call c in stream s is a hash of (s, c, e). So a row has the same numbers alone and among others, in any order and
in chunks of any size, and no row waits for another. Whatever a sampler asks torch for, normals or gammas, is made from such
uniform numbers by the inverse of its distribution function.

References:
    Steele, Lea, Flood (2014), Fast splittable pseudorandom number generators, OOPSLA: the mixing function. Salmon, Moraes,
    Dror, Shaw (2011), Parallel random numbers: as easy as 1, 2, 3, SC: counting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.torch_private import OpOverload, TorchDispatchMode, tree_leaves
from sursum.distributions.randomness import seeded_operator

Array = NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

aten = torch.ops.aten


class CannotCount(RuntimeError):
    """An operator that draws otherwise than by rows: the rows are drawn one after the other."""


class counting(TorchDispatchMode):
    """While this is active, every draw in this thread comes from the streams.

    Args:
        streams: for each row one integer from 0 to 2⁶⁴ − 1.
        rows: whether what is drawn has a leading dimension for the rows; without, there is one stream.
        calls: how many there have been.

    Raises:
        CannotCount: an operator that cannot be drawn by rows.

    Example:
        >>> with counting([3, 4], rows=True):
        ...     both = torch.randn(2, 3, dtype=torch.float64)
        >>> with counting([4]):
        ...     bool((torch.randn(3, dtype=torch.float64) == both[1]).all())
        True
    """

    def __init__(self, streams: Sequence[int], *, rows: bool = False, calls: int = 0) -> None:
        super().__init__()
        self._streams, self._rows, self.calls = np.array(streams, dtype=np.uint64), rows, calls

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded not in func.tags or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        self.calls += 1
        made = _RULES.get(func.overloadpacket)
        if made is None or any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in tree_leaves((args, kwargs))):
            return self._otherwise(func, args, kwargs)
        return made(self, func, args, kwargs)

    def _otherwise(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """By a generator of torch's, which begins at a number of this call."""
        if self._rows:
            raise CannotCount(f"{func} draws by no rule that is known")
        seed = int(_mix(_mix(self._streams[:1]) + np.uint64(self.calls) * _GOLDEN)[0] >> np.uint64(2))
        return seeded_operator(func, args, kwargs, torch.Generator().manual_seed(seed))

    def uniform(self, shape: Sequence[int], parts: int = 1) -> list[Array]:
        """Numbers in (0, 1), `parts` arrays of a shape, each row's from its stream."""
        shape = tuple(shape)
        if self._rows and shape[:1] != self._streams.shape:
            raise CannotCount(f"a draw of shape {shape} for {len(self._streams)} rows")
        count = int(np.prod(shape[1:] if self._rows else shape))
        with np.errstate(over="ignore"):
            keys = _mix(_mix(self._streams) + np.uint64(self.calls) * _GOLDEN)[:, None]
            hashed = _mix(_mix(keys + np.arange(1, parts * count + 1, dtype=np.uint64) * _GOLDEN) ^ keys)
        # The middles of 2⁵³ intervals, so that neither 0 nor 1 is drawn.
        numbers = ((hashed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        return [part.reshape(shape) for part in np.split(numbers, parts, axis=1)]

    def unflattened(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape with the rows in a dimension of their own, where `torch.vmap` has put them and the next one together."""
        rows = len(self._streams)
        if not self._rows or len(shape) < 2 or shape[0] == rows or shape[0] % rows:
            return shape
        return (rows, shape[0] // rows, *shape[1:])


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * _FIRST
        z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


# What each operator draws, by the quantiles of uniform numbers ----------------------------------------------------------

Rule = Callable[[counting, OpOverload, tuple[Any, ...], dict[str, Any]], Tensor]


def _array(value: Any) -> Any:
    return value.detach().cpu().double().numpy() if isinstance(value, Tensor) else value


def _normal(u: Array) -> Array:
    # SciPy has it as well, but a first prediction would wait a fifth of a second for its import.
    found: Array = torch.special.ndtri(torch.from_numpy(u)).numpy()
    return found


def _in_place(quantile: Callable[..., Array], *defaults: Any) -> Rule:
    """Of an operator that fills a tensor: `quantile` of uniform numbers and its parameters."""

    def rule(streams: counting, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        filled: Tensor = args[0]
        names = [a.name for a in func._schema.arguments if a.name not in ("self", "generator")]
        given = dict(zip(names, args[1:], strict=False)) | kwargs
        parameters = [_array(given.get(name, default)) for name, default in zip(names, defaults, strict=False)]
        values = quantile(*streams.uniform(filled.shape), *parameters)
        return filled.copy_(torch.from_numpy(np.asarray(values)))

    return rule


def _like(quantile: Callable[..., Array], parts: int = 1) -> Rule:
    """Of an operator whose result is like its first tensor."""

    def rule(streams: counting, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        like = next(argument for argument in args if isinstance(argument, Tensor))
        numbers = [argument for argument in args if isinstance(argument, (Tensor, int, float))]
        shape = np.broadcast_shapes(*(argument.shape for argument in numbers if isinstance(argument, Tensor)))
        values = quantile(*streams.uniform(shape, parts), *map(_array, numbers))
        dtype = kwargs.get("dtype") or like.dtype
        return torch.from_numpy(np.asarray(values)).to(device=like.device, dtype=dtype)

    return rule


def _new(quantile: Callable[[Array], Array]) -> Rule:
    """Of an operator that makes a tensor of a size that is given, or like another."""

    def rule(streams: counting, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        first = args[0]
        shape = first.shape if isinstance(first, Tensor) else first
        dtype = kwargs.get("dtype") or (first.dtype if isinstance(first, Tensor) else torch.get_default_dtype())
        device = kwargs.get("device") or (first.device if isinstance(first, Tensor) else None)
        return torch.from_numpy(np.asarray(quantile(*streams.uniform(shape)))).to(device=device, dtype=dtype)

    return rule


def _gamma(u: Array, alpha: Array) -> Array:
    from scipy.special import gammaincinv  # type: ignore[import-untyped]

    found: Array = gammaincinv(alpha, u)
    return found


def _log_gamma(u: Array, v: Array, alpha: Array) -> Array:
    """Of a gamma variable whose shape may be tiny: G(α) = G(α + 1) U^(1/α)."""
    found: Array = np.log(_gamma(u, alpha + 1.0)) + np.log(v) / alpha
    return found


def _dirichlet(u: Array, v: Array, alpha: Array) -> Array:
    log = _log_gamma(u, v, alpha)
    weights = np.exp(log - log.max(axis=-1, keepdims=True))
    found: Array = weights / weights.sum(axis=-1, keepdims=True)
    return found


def _poisson(u: Array, rate: Array) -> Array:
    from scipy.special import pdtr, pdtrik

    with np.errstate(invalid="ignore"):
        return _discrete(u, np.where(rate > 0.0, pdtrik(u, rate), 0.0), lambda k: np.where(rate > 0.0, pdtr(k, rate), 1.0))


def _binomial(u: Array, count: Array, p: Array) -> Array:
    from scipy.special import bdtrik, betainc

    inside = (p > 0.0) & (p < 1.0) & (count > 0)
    q = np.where(inside, p, 0.5)
    n = np.where(inside, count, 1.0)

    def below(k: Array) -> Array:
        most = k >= n
        return np.where(most, 1.0, betainc(np.where(most, 1.0, n - k), k + 1.0, 1.0 - q))

    found = np.minimum(_discrete(u, bdtrik(u, n, q), below), n)
    return np.where(inside, found, np.where(p >= 1.0, count, 0.0))


def _discrete(u: Array, k: Array, below: Callable[[Array], Array]) -> Array:
    """The smallest integer whose distribution function is at least u, from a real number near it."""
    upper = np.ceil(k)
    lower = np.maximum(upper - 1.0, 0.0)
    return np.where(below(lower) >= u, lower, upper)


def _multinomial(streams: counting, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    given = dict(zip(("self", "num_samples", "replacement"), args, strict=False)) | kwargs
    weights, count = _array(given["self"]), int(given["num_samples"])
    if count > 1 and not given.get("replacement", False):
        raise CannotCount("without replacement")
    (u,) = streams.uniform(streams.unflattened((*weights.shape[:-1], count)))
    u = u.reshape(*weights.shape[:-1], count)
    bounds = weights.cumsum(axis=-1)
    # Of equal bounds, which are those of no weight, the first.
    found = (u[..., None] * bounds[..., None, -1:] >= bounds[..., None, :]).sum(axis=-1)
    return torch.from_numpy(found).to(given["self"].device)


def _integers(streams: counting, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    names = [a.name for a in func._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    low, high = given.get("low", 0), given["high"]
    (u,) = streams.uniform(given["size"])
    return torch.from_numpy(np.floor(u * (high - low)) + low).to(
        device=given.get("device"), dtype=given.get("dtype") or torch.int64
    )


_RULES: Mapping[Any, Rule] = {
    aten.normal_: _in_place(lambda u, mean, std: mean + std * _normal(u), 0.0, 1.0),
    aten.uniform_: _in_place(lambda u, low, high: low + (high - low) * u, 0.0, 1.0),
    aten.exponential_: _in_place(lambda u, rate: -np.log1p(-u) / rate, 1.0),
    aten.cauchy_: _in_place(lambda u, median, sigma: median + sigma * np.tan(np.pi * (u - 0.5)), 0.0, 1.0),
    aten.log_normal_: _in_place(lambda u, mean, std: np.exp(mean + std * _normal(u)), 1.0, 2.0),
    aten.geometric_: _in_place(lambda u, p: np.ceil(np.log1p(-u) / np.log1p(-p)), 0.5),
    aten.bernoulli_: _in_place(lambda u, p: (u < p).astype(np.float64), 0.5),
    aten.bernoulli: _like(lambda u, p, *other: (u < (other[0] if other else p)).astype(np.float64)),
    aten.normal: _like(lambda u, mean, std=1.0: mean + std * _normal(u)),
    aten.rand: _new(lambda u: u),
    aten.rand_like: _new(lambda u: u),
    aten.randn: _new(_normal),
    aten.randn_like: _new(_normal),
    aten._standard_gamma: _like(_gamma),
    aten._sample_dirichlet: _like(_dirichlet, parts=2),
    aten.poisson: _like(_poisson),
    aten.binomial: _like(_binomial),
    aten.multinomial: _multinomial,
    aten.randint: _integers,
}
