"""Mapping over rows: what torch gives, and not a word of how it came by it."""

import warnings

import torch

from sursum.common.vmap import vmap


def test_an_operator_without_a_rule_is_looped_over_in_silence():
    rows = torch.tensor([[0.0, 0.5, 1.5], [1.5, 1.6, 1.7]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = vmap(lambda x: torch.histc(x, bins=2, min=0.0, max=2.0))(rows)
    assert found.tolist() == [[2.0, 1.0], [0.0, 3.0]]


def test_warnings_of_the_function_itself_are_heard():
    def talk(x):
        warnings.warn("mind", UserWarning, stacklevel=1)
        return 2 * x

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = vmap(talk, in_dims=1)(torch.eye(2))
    assert [str(one.message) for one in caught] == ["mind"]
    assert torch.equal(found, 2 * torch.eye(2))
