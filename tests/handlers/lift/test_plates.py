"""`lift`, rule 8: global and local parameters, and that it does not matter on which side of `lift` a plate stands."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributions as td
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.errors import PlateError, PriorShapeError

PRESENT = torch.tensor([3, 1])


def local(init: Tensor, event_dim: int = 0, subsample: Tensor | None = PRESENT, **settings: Any) -> Any:
    def program() -> Tensor:
        with su.plate("groups", len(init), subsample=subsample):
            return su.param("w", init, event_dim=event_dim, **settings)

    return program


def site_of(program: Any, prior: Any) -> Any:
    return su.trace(su.lift(program, prior)).get_trace()["w"]


def test_a_global_parameter_read_in_a_subsampled_plate_is_one_draw_unscaled() -> None:
    def program() -> Tensor:
        with su.plate("data", 10, subsample=torch.arange(2)):
            s = su.param("w", torch.tensor(0.0))
            return su.sample("y", dist.Normal(s, 1.0), obs=torch.tensor([1.0, 2.0]))

    tr = su.trace(su.lift(program, dist.Normal(0.0, 3.0))).get_trace()
    site = tr["w"]
    assert (site.value.shape, site.plates, site.scale) == (torch.Size([]), (), 1.0)
    likelihood = 5.0 * td.Normal(site.value, 1.0).log_prob(torch.tensor([1.0, 2.0])).sum()
    torch.testing.assert_close(tr.log_prob_sum(), td.Normal(0.0, 3.0).log_prob(site.value) + likelihood)


def test_a_vector_without_event_dim_is_global_whatever_its_shape() -> None:
    def program() -> Tensor:
        with su.plate("data", 4, subsample=PRESENT):
            return su.param("w", torch.zeros(4))

    site = site_of(program, dist.Normal(0.0, 1.0))
    assert site.value.shape == site.fn.event_shape == (4,)
    assert (site.plates, site.scale) == ((), 1.0)
    torch.testing.assert_close(site.log_prob(), td.Normal(0.0, 1.0).log_prob(site.value).sum())


def test_a_local_parameter_is_subsampled_and_scaled_and_so_are_its_priors_arguments() -> None:
    site = site_of(local(torch.arange(4.0)), dist.Normal(torch.arange(4.0) * 100, 1e-3))
    assert [frame.name for frame in site.plates] == ["groups"]
    assert site.scale == 2.0
    assert site.value.tolist() == pytest.approx([300.0, 100.0], abs=0.1)
    assert site.init.tolist() == [3.0, 1.0]
    assert (site.fn.batch_shape, site.fn.event_shape) == ((2,), ())
    expected = 2.0 * td.Normal(torch.tensor([300.0, 100.0]), 1e-3).log_prob(site.value)
    torch.testing.assert_close(site.log_prob(), expected)


def test_a_whole_plate_keeps_the_whole_parameter() -> None:
    site = site_of(local(torch.zeros(4), subsample=None), dist.Normal(torch.arange(4.0), 1.0))
    assert (site.value.shape, site.scale) == (torch.Size([4]), 1.0)
    torch.testing.assert_close(site.log_prob(), td.Normal(torch.arange(4.0), 1.0).log_prob(site.value))


N = torch.arange(4.0)
COLUMNS = torch.stack([N + 1, N + 2, N + 3], -1)
SELECTABLE: dict[str, tuple[Any, Any, int]] = {
    "normal": (lambda i: td.Normal(N[i], 1.0 + N[i]), constraints.real, 0),
    "beta": (lambda i: td.Beta(N[i] + 1, N[i] + 2), constraints.unit_interval, 0),
    "gamma": (lambda i: td.Gamma(N[i] + 1, 1.0), constraints.positive, 0),
    "studentt": (lambda i: td.StudentT(N[i] + 1, N[i], 1.0), constraints.real, 0),
    "lognormal": (lambda i: td.LogNormal(N[i], 1.0), constraints.positive, 0),
    "uniform": (lambda i: td.Uniform(-N[i] - 1, N[i] + 1), constraints.real, 0),
    "weibull": (lambda i: td.Weibull(N[i] + 1, 2.0), constraints.positive, 0),
    "inverse gamma": (lambda i: td.InverseGamma(N[i] + 1, 2.0), constraints.positive, 0),
    "affine": (
        lambda i: td.TransformedDistribution(td.HalfNormal(N[i] + 1), td.AffineTransform(N[i], N[i] + 1)),
        constraints.real,
        0,
    ),
    "mixture": (
        lambda i: td.MixtureSameFamily(td.Categorical(COLUMNS[i]), td.Normal(COLUMNS[i] * 10, 1.0)),
        constraints.real,
        0,
    ),
    "masked": (lambda i: dist.Normal(N[i], 1.0).mask((N > 1)[i]), constraints.real, 0),
    "delta": (lambda i: dist.Delta(N[i]), constraints.real, 0),
    "independent": (lambda i: td.Independent(td.Normal(COLUMNS[i], 1.0), 1), constraints.real, 1),
    "dirichlet": (lambda i: td.Dirichlet(COLUMNS[i]), constraints.simplex, 1),
    "mvn": (lambda i: td.MultivariateNormal(COLUMNS[i], 2 * torch.eye(3)), constraints.real, 1),
    "mvn of mixture": (
        lambda i: td.MixtureSameFamily(
            td.Categorical(COLUMNS[i]), td.Independent(td.Normal(COLUMNS[i].unsqueeze(-1).expand(-1, 3, 3), 1.0), 1)
        ),
        constraints.real,
        1,
    ),
}


@pytest.mark.parametrize(("build", "constraint", "event_dim"), SELECTABLE.values(), ids=SELECTABLE.keys())
def test_priors_of_every_build_are_subsampled(build: Any, constraint: Any, event_dim: int) -> None:
    """The site's distribution is what one built for the present elements alone would be."""
    whole, part = build(torch.arange(4)), build(PRESENT)
    init = whole.sample()
    site = site_of(local(init, event_dim, constraint=constraint), whole)
    assert (site.fn.batch_shape, site.fn.event_shape) == (part.batch_shape, part.event_shape)
    assert site.value.shape == (2, *init.shape[1:])
    torch.testing.assert_close(site.log_prob(), 2.0 * part.log_prob(site.value))
    torch.testing.assert_close(site.init, init[PRESENT])


@pytest.mark.parametrize(
    ("prior", "shape", "event_dim"),
    [
        (td.Dirichlet(torch.ones(3)), (4, 3), 1),
        (td.LKJCholesky(3), (4, 3, 3), 2),
        (td.MixtureSameFamily(td.Categorical(torch.ones(4)), td.Normal(N, 1.0)), (4,), 0),
        (td.Normal(torch.zeros(3), 1.0), (4, 3), 1),
    ],
)
def test_a_prior_for_all_elements_needs_no_picking(prior: Any, shape: tuple[int, ...], event_dim: int) -> None:
    """A mixture of as many components as there are elements is not mistaken for one prior an element."""
    init = torch.eye(3).expand(shape) if event_dim == 2 else torch.full(shape, 1 / 3)
    site = site_of(local(init, event_dim), prior)
    assert site.value.shape == (2, *shape[1:])
    own = prior.expand((2, 3)) if isinstance(prior, td.Normal) and event_dim else prior.expand((2,))
    expected = own.log_prob(site.value)
    torch.testing.assert_close(site.log_prob(), 2.0 * (expected.sum(-1) if expected.dim() > 1 else expected))


def test_one_that_cannot_be_picked_apart_says_so() -> None:
    prior = td.LKJCholesky(3, torch.arange(4.0) + 1)
    init = torch.eye(3).expand(4, 3, 3)
    with pytest.raises(
        PriorShapeError, match="LKJCholesky .*'w' .*cannot be subsampled with plate 'groups'.*do not subsample the plate"
    ):
        site_of(local(init, 2, constraint=constraints.corr_cholesky), prior)
    assert site_of(local(init, 2, None, constraint=constraints.corr_cholesky), prior).value.shape == (4, 3, 3)


def test_a_prior_across_a_plate_is_an_error() -> None:
    prior = td.MultivariateNormal(torch.zeros(4), torch.eye(4))
    for subsample in (PRESENT, None):
        with pytest.raises(PriorShapeError, match=r"event \(4,\).*the parameter's \(4,\), of which plates own the first 1"):
            site_of(local(torch.zeros(4), subsample=subsample), prior)


def test_event_dimensions_of_a_local_parameter() -> None:
    site = site_of(local(torch.zeros(4, 3), 1), dist.Normal(COLUMNS, 1.0))
    assert (site.fn.batch_shape, site.fn.event_shape) == ((2,), (3,))
    torch.testing.assert_close(site.log_prob(), 2.0 * td.Normal(COLUMNS[PRESENT], 1.0).log_prob(site.value).sum(-1))


def test_batch_dimensions_that_only_some_plates_claim_are_an_error() -> None:
    def program() -> Tensor:
        with su.plate("groups", 4):
            return su.param("w", torch.zeros(2, 4), event_dim=0)

    with pytest.raises(PlateError) as error:
        su.lift(program, dist.Normal(0.0, 1.0))()
    text = str(error.value)
    assert "parameter 'w' (test_plates.py:" in text
    assert "batch shape (2, 4) (shape (2, 4), event_dim 0)" in text
    assert "'groups' (size 4, dim -1)" in text
    assert "leave event_dim out to make the parameter global" in text


def test_a_size_that_is_not_the_plates_is_an_error() -> None:
    with pytest.raises(PlateError, match=r"batch shape \(5,\).*'groups' \(size 4"):
        su.plate("groups", 4)(su.lift(lambda: su.param("w", torch.zeros(5), event_dim=0), dist.Normal(0.0, 1.0)))()


def nested(which: str) -> Tensor:
    """A parameter that is in plate "a" (size 3, subsampled to 2), in "b" (size 4), or in both."""
    shape = {"a": (3, 1), "b": (4,), "ab": (3, 4)}[which]
    with su.plate("a", 3, subsample=torch.tensor([2, 0]), dim=-2), su.plate("b", 4, dim=-1):
        return su.param("w", torch.zeros(shape), event_dim=0)


@pytest.mark.parametrize(("which", "shape", "scale"), [("a", (2, 1), 1.5), ("b", (4,), 1.0), ("ab", (2, 4), 1.5)])
def test_nested_plates_of_which_a_parameter_is_in_some(which: str, shape: tuple[int, ...], scale: float) -> None:
    mean = torch.arange(3.0).reshape(3, 1) if "a" in which else torch.zeros(())
    site = site_of(lambda: nested(which), dist.Normal(mean, 1.0))
    assert site.value.shape == shape
    assert "".join(frame.name for frame in site.plates) == which
    present = mean[[2, 0]] if "a" in which else mean
    torch.testing.assert_close(site.log_prob(), scale * td.Normal(present, 1.0).log_prob(site.value))


def test_a_sequential_plate_claims_nothing() -> None:
    def program() -> list[Tensor]:
        return [su.param(f"w_{i}", torch.zeros(3), event_dim=1) for i in su.plate("steps", 2)]

    tr = su.trace(su.lift(program, dist.Normal(0.0, 1.0))).get_trace()
    assert [site.plates for site in tr.values()] == [(), ()]
    expected = sum(td.Normal(0.0, 1.0).log_prob(site.value).sum() for site in tr.values())
    torch.testing.assert_close(tr.log_prob_sum(), torch.as_tensor(expected))


def test_a_second_read_where_other_elements_are_present() -> None:
    def whole_first() -> tuple[Tensor, Tensor]:
        whole = su.param("w", torch.zeros(4), event_dim=0)
        with su.plate("groups", 4, subsample=PRESENT):
            return whole, su.param("w", torch.zeros(4), event_dim=0)

    def part_first() -> tuple[Tensor, Tensor]:
        with su.plate("groups", 4, subsample=PRESENT):
            part = su.param("w", torch.zeros(4), event_dim=0)
        return part, su.param("w", torch.zeros(4), event_dim=0)

    for prior in (dist.Normal(0.0, 1.0), lambda init: torch.randn(4), {"w": lambda init: torch.randn(4)}):
        whole, part = su.lift(whole_first, prior)()
        assert torch.equal(part, whole[PRESENT])
    with pytest.raises(PlateError, match="'w' .*first read at .*'groups' has 2 of its 4 elements present.*first outside"):
        su.lift(part_first, dist.Normal(0.0, 1.0))()


def test_the_same_part_twice_is_one_value() -> None:
    def program() -> tuple[Tensor, Tensor]:
        groups = su.plate("groups", 4, subsample_size=2)
        with groups:
            first = su.param("w", torch.zeros(4), event_dim=0)
        with groups:
            return first, su.param("w", torch.zeros(4), event_dim=0)

    first, second = su.lift(program, dist.Normal(0.0, 1.0))()
    assert first is second


def test_event_dim_beyond_the_shape_is_an_error() -> None:
    with pytest.raises(PlateError, match=r"'w' .*shape \(2, 2\) and event_dim 3.*from 0 to 2"):
        su.plate("groups", 2)(su.lift(lambda: su.param("w", torch.ones(2, 2), event_dim=3), dist.Normal(0.0, 1.0)))()


# The law: a plate inside or outside of `lift` is the same.


@st.composite
def cases(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...], list[tuple[int, int, list[int] | None]], list[bool]]:
    """Shapes of batch and event, plates as (dim, size, indices), and which dimensions the parameter has."""
    count = draw(st.integers(1, 3))
    plates: list[tuple[int, int, list[int] | None]] = []
    for k in range(count):
        size = draw(st.integers(1, 4))
        some = st.lists(st.integers(0, size - 1), min_size=1, max_size=size, unique=True)
        plates.append((-1 - k, size, draw(st.none() | some)))
    event = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    owned = [draw(st.booleans()) for _ in plates]
    batch = tuple(size if own else 1 for (_, size, _), own in zip(reversed(plates), reversed(owned), strict=True))
    return batch, event, plates, owned


@settings(max_examples=60, deadline=None)
@given(case=cases(), is_local=st.booleans())
def test_law_a_plate_on_either_side(case: Any, is_local: bool) -> None:
    batch, event, plates, _ = case
    init = torch.arange(float(torch.Size(batch + event).numel())).reshape(batch + event)
    prior = dist.Normal(init * 10, 1.0)

    def program() -> Tensor:
        return su.param("w", init, event_dim=len(event) if is_local else None)

    def wrap(fn: Any) -> Any:
        for dim, size, indices in plates:
            part = None if indices is None else torch.tensor(indices)
            fn = su.plate(f"p{-dim}", size, subsample=part, dim=dim)(fn)
        return fn

    inside = su.trace(su.seed(su.lift(wrap(program), {"w": prior}), rng_seed=0)).get_trace()["w"]
    outside = su.trace(su.seed(wrap(su.lift(program, {"w": prior})), rng_seed=0)).get_trace()["w"]
    assert torch.equal(inside.value, outside.value)
    assert {f.name for f in inside.plates} == {f.name for f in outside.plates}
    assert inside.scale == outside.scale
    torch.testing.assert_close(inside.log_prob(), outside.log_prob(), rtol=0, atol=0)
    # And it is what a formula by hand gives.
    expected, scale = init, 1.0
    if is_local:
        for dim, size, indices in plates:
            axis = len(batch) + dim
            if indices is not None and size > 1 and batch[axis] == size:
                expected = expected.index_select(axis, torch.tensor(indices))
                scale *= size / len(indices)
    terms = td.Normal(expected * 10, 1.0).log_prob(inside.value)
    torch.testing.assert_close(inside.log_prob().sum(), scale * terms.sum())
    assert inside.value.shape == expected.shape
