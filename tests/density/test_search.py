"""The search for points at which a program runs: what it passes over, and what it says where there are none."""

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.density.search import runs
from sursum.errors import ArgumentError, DensityError, HandlerError, ObservationError
from sursum.infer import LogDensity


def failing(*errors):
    """Raises each of these at the try of its number; the tries after them run."""

    def attempt(number):
        if number < len(errors):
            raise errors[number]
        return number

    return attempt


ELSEWHERE = (ArgumentError("a"), ObservationError("o"), ValueError("v"), torch.linalg.LinAlgError("l"))


def test_tries_at_which_the_program_fails_are_left_out():
    assert list(runs(failing(*ELSEWHERE), 6)) == [4, 5]


def test_no_try_is_made_that_nobody_asks_for():
    made = []
    found = runs(made.append, 10)
    next(found)
    next(found)
    assert made == [0, 1]


@pytest.mark.parametrize("error", [HandlerError("h"), DensityError("d"), RuntimeError("r")])
def test_errors_that_hold_everywhere_are_raised_at_once(error):
    found = runs(failing(error), 3, "nothing")
    with pytest.raises(type(error)) as caught:
        next(found)
    assert caught.value is error


@pytest.mark.parametrize("last", ELSEWHERE)
def test_where_all_tries_fail_the_aim_and_the_last_failure_are_said(last):
    with pytest.raises(DensityError, match=f"^no chain could start: .* 2 times, at last by: {last}.*initial values") as caught:
        list(runs(failing(ValueError("first"), last), 2, "no chain could start"))
    assert caught.value.__cause__ is last


def test_without_an_aim_our_own_error_is_what_there_is_to_say():
    with pytest.raises(ArgumentError, match="^a$"):
        list(runs(failing(ValueError("v"), ELSEWHERE[0]), 2))
    with pytest.raises(DensityError, match=r"^the program fails wherever it was tried, 2 times, at last by: v"):
        list(runs(failing(ELSEWHERE[0], ValueError("v")), 2))


def test_a_density_is_made_of_a_program_that_does_not_run_at_its_start():
    def model():
        x = su.sample("x", dist.Normal(0.0, 1.0))
        torch.linalg.cholesky(torch.stack([x.abs(), torch.zeros_like(x), torch.zeros_like(x), x.abs()]).reshape(2, 2))
        su.factor("f", -(x**2))

    density = LogDensity(model)
    expected = -0.5 - 0.5 * torch.log(torch.tensor(2 * torch.pi, dtype=torch.float64)) - 1.0
    assert torch.allclose(density(torch.ones(1, dtype=torch.float64)), expected)


@pytest.mark.parametrize("find", [LogDensity, lambda model: su.infer.Fit(model).run(), su.compile])
def test_a_program_that_runs_nowhere(find):
    def model():
        x = su.sample("x", dist.Normal(0.0, 1.0))
        raise ValueError(f"not at {float(x.detach()) == 0.0}")

    with pytest.raises(DensityError, match=r"^the program fails wherever it was tried, 10 times, at last by: not at False"):
        find(model)
