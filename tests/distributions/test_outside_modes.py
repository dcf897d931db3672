"""In double precision a family of doubles is made, expanded and scored as torch does by itself; others as the modes have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributions as td
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import sursum as su
import sursum.distributions as dist
from sursum.common.precision import in_double, leaves_doubles, score
from sursum.density.bypassed_module import watch_originals
from sursum.distributions import plain_densities
from sursum.distributions.plain_densities import FAMILIES, is_plain, log_density
from sursum.distributions.rebuild import tensors

DOUBLE = {"dtype": torch.float64}
X = torch.tensor([0.3, 1.7], **DOUBLE)

MADE: dict[str, Callable[[Tensor], Any]] = {
    "Cauchy": lambda x: dist.Cauchy(x, 2.0),
    "Exponential": lambda x: dist.Exponential(x),
    "Gamma": lambda x: dist.Gamma(2.0, rate=x),
    "HalfCauchy": lambda x: dist.HalfCauchy(x),
    "HalfNormal": lambda x: dist.HalfNormal(x),
    "Laplace": lambda x: dist.Laplace(0.1, x),
    "Normal": lambda x: dist.Normal(x, x + 0.1),
    "Poisson": lambda x: dist.Poisson(x),
    "StudentT": lambda x: dist.StudentT(3.0, x, x),
}


class Seen(TorchFunctionMode):
    """Counts what Python asks torch for."""

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", MADE)
def test_it_is_what_torch_makes_of_doubles(family: str) -> None:
    wanted = MADE[family](X).expand([3, 2])
    with in_double():
        found = MADE[family](X).expand([3, 2])
    assert type(found) is type(wanted)
    assert (found.batch_shape, found.event_shape) == (wanted.batch_shape, wanted.event_shape)
    pairs = list(zip(tensors(found), tensors(wanted), strict=True))
    assert pairs
    assert all(a.dtype == torch.float64 and a.stride() == b.stride() and torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("family", MADE)
def test_numbers_and_narrow_tensors_become_doubles(family: str) -> None:
    with in_double():
        for x in (0.1, torch.tensor(0.1)):
            score = MADE[family](x).log_prob(X.round().float() + 1.0)
            wanted = MADE[family](torch.as_tensor(x, **DOUBLE)).log_prob(X.round() + 1.0)
            assert score.double() is score
            torch.testing.assert_close(score, wanted, rtol=1e-15, atol=0.0)


def test_what_others_watch_is_left_to_them() -> None:
    """A mode that is not ours sees all, and so does the one that looks for reads of parameters."""
    with in_double():
        assert leaves_doubles((X,))
        with watch_originals():
            assert leaves_doubles((X,))
        with Seen() as seen:
            assert not leaves_doubles((X,))
            dist.Normal(X, 1.0)
    assert seen.count > 5
    weight = nn.Parameter(X.clone())
    with in_double(), watch_originals() as originals:
        dist.Normal(weight, 1.0)
    assert id(weight) in originals._read


def test_arguments_are_checked() -> None:
    with in_double(), pytest.raises(ValueError, match="Expected parameter scale"):
        dist.Normal(X, -X)
    with in_double():
        assert not dist.Normal(X, -X, validate_args=False)._validate_args


def test_a_subclass_is_expanded_as_torch_does() -> None:
    class Named(dist.Normal):
        """With torch's constructor."""

    class Standard(dist.Normal):
        def __init__(self, loc: Tensor) -> None:
            super().__init__(loc, 1.0)

    assert type(Named(X, 1.0).expand([3, 2])) is Named
    with pytest.raises(NotImplementedError, match="custom .expand"):
        Standard(X).expand([3, 2])


# Log densities ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", MADE)
def test_the_density_and_its_gradient_are_those_of_the_modes(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def scored() -> list[Tensor]:
        at = X.clone().requires_grad_()
        with in_double():
            fn = MADE[family](at * 1.0).expand([3, 2]).to_event(1)
            found: Tensor = score(fn, torch.ones(3, 2).double(), lambda fn: log_density(fn, torch.ones(3, 2).double()))
            return [found, *torch.autograd.grad(found.sum(), at)]

    assert is_plain(MADE[family](X).to_event(1))
    mine = scored()
    monkeypatch.setattr(plain_densities, "leaves_doubles", lambda items: False)
    for found, wanted in zip(mine, scored(), strict=True):
        assert found.dtype == torch.float64
        assert torch.equal(found, wanted)


def test_a_density_of_ones_own_is_not_plain() -> None:
    class Switched(dist.Normal):
        def log_prob(self, value: Tensor) -> Tensor:
            return super().log_prob(value) * 2.0

    fn: Any = dist.Normal(X, 1.0)
    fn.log_prob = lambda value: value
    assert td.Normal in FAMILIES
    assert not any(map(is_plain, (Switched(X, 1.0), fn, fn.to_event(1), dist.Normal(X, 1.0).mask(True))))


def test_numbers_of_a_program_in_single_precision_are_doubles() -> None:
    """0.1 as a double, whether the data beside it are floats or doubles."""
    for data in (torch.tensor(0.3), torch.tensor(0.3, dtype=torch.float64)):
        density = su.infer.LogDensity(
            lambda y=data: su.sample("y", dist.Normal(su.sample("m", dist.Normal(0.0, 1.0)), 0.1), obs=y)
        )
        found = float(density(torch.zeros(1, dtype=torch.float64)))
        wanted = td.Normal(0.0, torch.tensor(0.1, dtype=torch.float64)).log_prob(data.double()) - 0.9189385332046727
        assert found == pytest.approx(float(wanted), rel=1e-15)
