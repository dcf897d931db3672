"""Groups that are added to a posterior: under which of ArviZ's names, with which leading dimensions, and which sites."""

from __future__ import annotations

import pytest
import torch

from sursum.errors import ExportError
from sursum.posterior.groups import ADDABLE, add_groups
from sursum.predict.prediction import Prediction

PRIOR = Prediction({"mu": torch.arange(5.0), "z": torch.zeros(5, 2), "y": torch.ones(5, 3)}, 1, ("mu", "z", "y"))


def shapes(groups):
    return {group: {name: tuple(value.shape) for name, value in values.items()} for group, values in groups.items()}


def test_draws_of_a_prior_are_one_chain_and_data_are_predictive():
    found = add_groups({"prior": PRIOR}, ["mu", "z"], ["y"])
    assert shapes(found) == {"prior": {"mu": (1, 5), "z": (1, 5, 2)}, "prior_predictive": {"y": (1, 5, 3)}}
    assert torch.equal(found["prior"]["mu"][0], torch.arange(5.0))
    assert list(add_groups({"prior": PRIOR}, ["mu"], [])) == ["prior"]


def test_what_the_posterior_has_is_not_added_again():
    sites = {"mu": torch.zeros(2, 5), "f": torch.zeros(2, 5), "y": torch.zeros(2, 5, 3)}
    found = add_groups({"posterior_predictive": Prediction(sites, 2, ("y",))}, ["mu"], ["y"])
    assert shapes(found) == {"posterior_predictive": {"f": (2, 5), "y": (2, 5, 3)}}
    drawn = add_groups({"posterior_predictive": Prediction(sites, 2, ("mu", "y"))}, ["mu"], ["y"])
    assert list(drawn["posterior_predictive"]) == ["mu", "f", "y"]


def test_mappings_of_anything_that_is_an_array():
    found = add_groups({"log_likelihood": {"y": [[[1.0, 2.0]]]}, "prior": {"mu": torch.zeros(5, requires_grad=True)}}, [], [])
    assert shapes(found) == {"log_likelihood": {"y": (1, 1, 2)}, "prior": {"mu": (1, 5)}}
    assert not found["prior"]["mu"].requires_grad


def test_data_are_no_draws():
    found = add_groups({"constant_data": {"x": torch.arange(3), "n": 4}}, [], [])
    assert shapes(found) == {"constant_data": {"x": (3,), "n": ()}}


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"priors": {}}, "group 'priors' does not exist. Did you mean 'prior'"),
        ({"posterior": {}}, "group 'posterior' does not exist"),
        ({"observed_data": {}}, "group 'observed_data' does not exist"),
        ({"prior": torch.zeros(5)}, "the group 'prior' is a Tensor. Give a mapping"),
        ({"log_likelihood": {"y": torch.zeros(3)}}, r"'y' in 'log_likelihood' have shape \(3,\), but 2 leading"),
        ({"log_likelihood": {"y": torch.zeros(2, 5), "z": torch.zeros(2, 4)}}, r"'z' .* have shape \(2, 4\), .*\(2, 5\)"),
        ({"prior": {"y": torch.tensor(1.0)}}, r"'y' in 'prior' have shape \(\), but 1 leading"),
        ({"prior": Prediction({"y": torch.zeros(2)}, 2, ("y",))}, r"shape \(2,\), but 2 leading"),
    ],
)
def test_what_cannot_be_added(groups, said):
    with pytest.raises(ExportError, match=said):
        add_groups(groups, [], [])


def test_the_names():
    assert {"prior", "posterior_predictive", "log_likelihood", "constant_data", "predictions"} <= set(ADDABLE)
    assert not {"posterior", "sample_stats", "warmup_posterior", "observed_data"} & set(ADDABLE)
