"""What may be given as `init`: each kind as values by name. (What chains do with them is in `mcmc/test_chain_starts.py`.)"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
from sursum.errors import DensityError, OptionError
from sursum.posterior.init import Started, check_names, each_draw, is_named, values_by_name


def rng():
    return np.random.default_rng(0)


def test_a_mapping_of_anything_that_is_an_array():
    given = {"s": 2, "v": [1.0, 2.0], "a": np.float32(0.5), "t": torch.tensor([1, 2])}
    found = values_by_name(given, rng())
    assert list(found) == ["s", "v", "a", "t"]
    assert [value.dtype for value in found.values()] == [torch.float64] * 3 + [torch.int64]
    assert (float(found["s"]), found["v"].tolist()) == (2.0, [1.0, 2.0])
    assert found["t"] is given["t"]
    assert values_by_name(None, rng()) == {}


def test_a_store():
    store = su.ParamStore()
    with store:
        su.param("s", torch.tensor(3.0), constraint=su.distributions.constraints.positive)
    found = values_by_name(store, rng())
    assert float(found["s"]) == pytest.approx(3.0, rel=1e-6)
    assert not found["s"].requires_grad


def test_a_draw_of_a_posterior_is_one_draw_of_all_sites():
    number = torch.arange(2 * 50).reshape(2, 50)
    posterior = su.Posterior({"a": number, "b": torch.stack([number, -number], -1)}, {}, np.zeros((2, 50, 1)))
    source, seen = rng(), set()
    for _ in range(40):
        found = values_by_name(posterior, source)
        assert found["b"].tolist() == [int(found["a"]), -int(found["a"])]
        seen.add(int(found["a"]))
    assert len(seen) > 25
    assert min(seen) < 50 <= max(seen)


def test_something_else():
    for wrong in ("prior", 3, [1.0]):
        with pytest.raises(OptionError, match=rf"`init` is {type(wrong).__name__}, but must be values by site name"):
            values_by_name(wrong, rng())
    for wrong in ("a", [1.0, [2.0]], object()):
        with pytest.raises(OptionError, match="for 's', but must have a number, an array or a tensor"):
            values_by_name({"s": wrong}, rng())


def test_which_kinds_speak_of_sites():
    assert is_named({})
    assert is_named(su.ParamStore())
    assert is_named(Started())
    assert not any(map(is_named, (None, [1.0], np.zeros(2))))


def test_names_are_checked_in_a_dictionary_alone():
    check_names({"mu": 1.0}, iter(["mu", "tau"]))
    check_names(Started(other=torch.zeros(())), ["mu"])
    check_names(su.Posterior({"other": torch.zeros(1, 1)}, {}, np.zeros((1, 1, 1))), ["mu"])
    check_names(None, ["mu"])
    with pytest.raises(
        DensityError, match=r"`init` has a value for 'tua', which is not a site of the program\. Did you mean 'tau'"
    ):
        check_names({"mu": 1.0, "tua": 1.0}, iter(["mu", "tau"]))


def test_what_can_be_drawn_from_gives_each_chain_a_draw():
    class Source:
        def sample(self, count):
            return {"mu": torch.arange(float(count))[None], "v": torch.ones(1, count, 2)}

    found = each_draw(Source(), 3)
    assert [float(one["mu"]) for one in found] == [0.0, 1.0, 2.0]
    assert all(isinstance(one, Started) and one["v"].shape == (2,) for one in found)
    values = {"mu": 1.0}
    assert each_draw(values, 3) is values
