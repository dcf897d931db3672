"""Plates: dims, nesting, subsampling, and what cannot be."""

import itertools
import re

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import DuplicateSiteError, ObservationError, PlateError

P = su.poutine
normal = torch.distributions.Normal


def sites(program):
    return P.trace(program).get_trace()


# Dims.


def test_a_plate_expands_its_sites():
    with P.trace() as t, su.plate("data", 5) as indices:
        x = su.sample("x", dist.Normal(0.0, 1.0))
        vector = su.sample("v", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    assert indices.tolist() == [0, 1, 2, 3, 4]
    assert x.shape == (5,)
    assert vector.shape == (5, 3)
    assert len(set(x.tolist())) == 5
    assert t.trace["v"].log_prob().shape == (5,)


def test_free_dims_are_chosen_from_the_right_outermost_first():
    def program():
        with su.plate("a", 2), su.plate("b", 3), su.plate("c", 4):
            return su.sample("x", dist.Normal(0.0, 1.0))

    tr = sites(program)
    assert tr.result.shape == (4, 3, 2)
    assert [(f.name, f.dim) for f in tr["x"].plates] == [("a", -1), ("b", -2), ("c", -3)]


def test_a_free_dim_avoids_the_explicit_ones():
    def program():
        with su.plate("a", 2, dim=-1), su.plate("b", 3, dim=-3), su.plate("c", 4), su.plate("d", 5):
            return su.sample("x", dist.Normal(0.0, 1.0)).shape

    assert sites(program).result == (5, 3, 4, 2)


def test_gaps_between_dims_are_ones():
    with su.plate("a", 2, dim=-3):
        assert su.sample("x", dist.Normal(0.0, 1.0)).shape == (2, 1, 1)


def test_two_axes_that_cross():
    rows, columns = su.plate("rows", 2, dim=-2), su.plate("columns", 3, dim=-1)

    def program():
        with rows:
            a = su.sample("a", dist.Normal(0.0, 1.0))
        with columns:
            b = su.sample("b", dist.Normal(0.0, 1.0))
        with rows, columns:
            return a.shape, b.shape, su.sample("c", dist.Normal(a + b, 1.0)).shape

    assert sites(program).result == ((2, 1), (3,), (2, 3))


def test_a_site_that_has_the_dimension_already_is_left_alone():
    with su.plate("data", 3):
        fn = dist.Normal(torch.arange(3.0), 1.0)
        with P.trace() as t:
            su.sample("x", fn)
        assert t.trace["x"].fn is fn


def test_plates_of_no_and_of_one_copy():
    with P.trace() as t, su.plate("none", 0):
        su.sample("x", dist.Normal(0.0, 1.0))
    assert t.trace["x"].value.shape == (0,)
    assert t.trace.log_prob_sum() == 0
    with su.plate("one", 1):
        assert su.sample("y", dist.Normal(0.0, 1.0)).shape == (1,)


def test_it_does_not_matter_on_which_side_of_a_handler_a_plate_stands():
    def site():
        su.sample("x", dist.Normal(0.0, 1.0))

    value = {"x": torch.tensor([0.1, 0.2, 0.3])}
    inside = sites(P.scale(P.condition(su.plate("p", 3)(site), data=value), 2.0))
    outside = sites(su.plate("p", 3)(P.scale(P.condition(site, data=value), 2.0)))
    expected = 2 * normal(0.0, 1.0).log_prob(value["x"]).sum()
    assert inside.log_prob_sum() == outside.log_prob_sum() == expected


# As an iterator.


def test_a_sequential_plate():
    def program():
        for i in su.plate("steps", 3):
            su.sample(f"x{i}", dist.Normal(float(i), 1.0))

    tr = sites(program)
    assert list(tr) == ["x0", "x1", "x2"]
    assert tr["x1"].value.shape == ()
    assert [(f.name, f.dim, f.size) for f in tr["x1"].plates] == [("steps", None, 3)]


def test_a_sequential_plate_holds_and_is_held_by_others():
    def program():
        for i in su.plate("steps", 2):
            with su.plate("data", 3):
                for j in su.plate("inner", 2):
                    su.sample(f"x{i}{j}", dist.Normal(0.0, 1.0))

    tr = sites(program)
    assert len(tr) == 4
    assert tr["x11"].value.shape == (3,)
    assert [f.name for f in tr["x11"].plates] == ["steps", "data", "inner"]


@pytest.mark.parametrize("how", ["break", "return", "raise"])
def test_leaving_a_sequential_plate_early_closes_it(how):
    def program():
        for i in su.plate("steps", 3):
            su.sample(f"x{i}", dist.Normal(0.0, 1.0))
            if how == "break":
                break
            if how == "return":
                return
            raise KeyError(i)

    def all_of_it():
        if how == "raise":
            with pytest.raises(KeyError):
                program()
        else:
            program()
        su.sample("after", dist.Normal(0.0, 1.0))

    tr = sites(all_of_it)
    assert list(tr) == ["x0", "after"]
    assert tr["after"].plates == ()


def test_a_subsampled_sequential_plate_is_scaled():
    data = torch.arange(10.0)

    def program():
        for i in su.plate("data", 10, subsample=torch.tensor([3, 7])):
            su.sample(f"y{i}", dist.Normal(0.0, 1.0), obs=data[i])

    tr = sites(program)
    assert list(tr) == ["y3", "y7"]
    assert torch.allclose(tr.log_prob_sum(), 5 * normal(0.0, 1.0).log_prob(data[[3, 7]]).sum())


# Subsampling.


def test_a_subsample_is_drawn_without_replacement():
    seen = set()
    for seed in range(30):
        with P.seed(rng_seed=seed):
            plate = su.plate("data", 6, subsample_size=4)
        assert len(plate) == 4
        with plate as indices:
            assert len(set(indices.tolist())) == 4
            seen |= set(indices.tolist())
            assert su.sample("x", dist.Normal(0.0, 1.0)).shape == (4,)
    assert seen == set(range(6))


@pytest.mark.parametrize("how", [{"subsample_size": 5}, {}, {"subsample": torch.arange(5)}])
def test_all_of_the_copies_are_no_subsample(how):
    with P.trace() as t, su.plate("data", 5, **how):
        su.factor("f", torch.ones(5))
    assert t.trace.log_prob_sum() == 5


def test_the_log_density_is_scaled_by_n_over_b_in_every_plate():
    def program():
        with su.plate("a", 10, subsample=torch.tensor([1, 2])), su.plate("b", 6, subsample=torch.tensor([0, 5, 3])):
            su.factor("f", torch.ones(3, 2))
        with su.plate("a", 10, subsample=torch.tensor([1, 2])):
            su.factor("g", torch.ones(2))

    tr = sites(program)
    assert tr["f"].log_prob().tolist() == [[10.0] * 2] * 3
    assert tr["g"].log_prob().tolist() == [5.0] * 2


def test_the_subsampled_log_density_is_unbiased():
    """The mean over all subsets is the log density of all of the data, exactly; that of its gradient as well."""
    data = torch.tensor([0.5, -1.0, 2.0, 3.5, 0.0], dtype=torch.float64)

    def program(subsample):
        mu = su.param("mu", torch.tensor(0.3, dtype=torch.float64, requires_grad=True))
        with su.plate("data", 5, subsample=subsample) as indices:
            local = su.param("local", torch.arange(5, dtype=torch.float64), event_dim=0)
            su.sample("y", dist.Normal(mu + local, 2.0), obs=data[indices])
        return mu

    def density(subsample):
        tr = P.trace(program).get_trace(subsample)
        value = tr.log_prob_sum()
        return value.detach(), torch.autograd.grad(value, tr.result)[0]

    full, gradient = density(torch.arange(5))
    for count in (1, 2, 3):
        subsets = [density(torch.tensor(chosen)) for chosen in itertools.combinations(range(5), count)]
        assert torch.allclose(torch.stack([value for value, _ in subsets]).mean(), full)
        assert torch.allclose(torch.stack([slope for _, slope in subsets]).mean(), gradient)


def test_handlers_may_answer_for_the_subsample():
    def program():
        with su.plate("data", 10, subsample_size=2) as indices:
            return indices.tolist()

    chosen = {"data": torch.tensor([8, 1])}
    assert P.condition(program, data=chosen)() == [8, 1]
    assert P.substitute(program, data=chosen)() == [8, 1]
    tr = sites(program)
    assert tr["data"].infer["is_subsample"]
    assert tr["data"].log_prob() == 0
    assert tr["data"].plates == ()


def test_a_plate_inside_the_program_draws_others_each_time():
    def program():
        with su.plate("data", 1000, subsample_size=5) as indices:
            return indices.tolist()

    assert P.seed(program, rng_seed=0)() != P.seed(program, rng_seed=1)()
    assert P.seed(program, rng_seed=0)() == P.seed(program, rng_seed=0)()


# What cannot be.


def refused(message, program):
    with pytest.raises(PlateError, match=message):
        program()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": -1}, r"plate 'p' \(test_plate.py:\d+\) has size -1. It must be an integer of at least 0"),
        ({"size": 2.5}, "has size 2.5. It must be an integer"),
        ({"size": 3, "dim": 0}, "has dim 0. Plates count from the right: use a negative dim"),
        ({"size": 3, "dim": 1}, "has dim 1"),
        ({"size": 3, "subsample_size": 4}, "cannot draw subsample_size 4 out of size 3"),
        ({"size": 3, "subsample_size": 0}, "cannot draw subsample_size 0 out of size 3"),
        ({"size": 3, "subsample": [0, 3]}, "has size 3, and its subsample has the index 3"),
        ({"size": 3, "subsample": [-1, 0]}, "its subsample has the index -1"),
        ({"size": 3, "subsample": [1, 1]}, "its subsample has a repeated index"),
        ({"size": 3, "subsample": [0.0, 1.0]}, r"a vector of integers, but got shape \(2,\) and torch.float32"),
        ({"size": 3, "subsample": [True, False, True]}, r"torch.bool. From a boolean mask, take mask.nonzero\(\)"),
        ({"size": 3, "subsample": [[0], [1]]}, r"a vector of integers, but got shape \(2, 1\)"),
        ({"size": 3, "subsample": [0, 1], "subsample_size": 3}, "has 2 indices in `subsample`, but subsample_size 3"),
    ],
)
def test_arguments_that_cannot_be(arguments, message):
    refused(message, lambda: su.plate("p", **arguments))


def test_a_subsample_given_by_a_handler_is_checked_too():
    program = P.condition(lambda: su.plate("p", 3, subsample_size=2), data={"p": torch.tensor([0, 7])})
    refused("its subsample has the index 7", program)


def test_plates_that_collide_are_both_named_with_the_remedy():
    def program():
        with su.plate("first", 2, dim=-1), su.plate("second", 3, dim=-1):
            pass

    refused(
        r"plates 'first' and 'second' \(test_plate.py:\d+\) collide at dim -1. Give one of them a different dim",
        program,
    )


@pytest.mark.parametrize("outer", ["with", "for"])
@pytest.mark.parametrize("inner", ["with", "for"])
def test_a_plate_inside_itself(outer, inner):
    def enter(how):
        if how == "with":
            return su.plate("p", 2).__enter__()
        return next(iter(su.plate("p", 2)))

    def program():
        steps = su.plate("p", 2)
        if outer == "with":
            with steps:
                enter(inner)
        else:
            for _ in steps:
                enter(inner)

    refused(r"plate 'p' \(test_plate.py:\d+\) is opened inside itself. Rename the inner one", program)


def test_a_site_that_does_not_fit():
    def program():
        with su.plate("data", 3):
            su.sample("x", dist.Normal(torch.zeros(4), 1.0))

    refused(
        r"site 'x' \(test_plate.py:\d+\) is in plate 'data' of size 3 at dim -1, but its distribution has batch shape \(4,\), "
        r"4 at that dim. Make them agree, or declare the dimension part of one value with .to_event",
        program,
    )


def test_a_site_of_full_size_in_a_subsampled_plate():
    def program():
        with su.plate("data", 4, subsample=torch.tensor([0, 1])):
            su.sample("x", dist.Normal(torch.zeros(4), 1.0))

    refused(r"in plate 'data' of size 4 \(2 of them present\) at dim -1", program)


def test_data_of_full_size_in_a_subsampled_plate():
    def program():
        with su.plate("data", 4, subsample_size=2):
            su.sample("x", dist.Normal(0.0, 1.0), obs=torch.zeros(4))

    with pytest.raises(ObservationError, match=re.escape("has shape (4,), its distribution has batch shape (2,)")):
        program()


def test_two_subsamples_of_one_name():
    def program():
        for _ in range(2):
            with su.plate("data", 4, subsample_size=2):
                pass

    with pytest.raises(DuplicateSiteError, match="'data'"):
        sites(program)
