"""What is said of draws that a program predicts: moments and quantiles against torch's and NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sursum.errors import PredictionError
from sursum.predict.prediction import Prediction

F = torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
K = torch.randint(0, 9, (2, 30), generator=torch.Generator().manual_seed(1))
BOTH = Prediction({"f": F, "k": K}, 2, ("f", "k"))
ONE = Prediction({"f": F[0], "k": K[0]}, 1, ("f",))


def test_it_is_a_mapping():
    assert list(BOTH) == ["f", "k"]
    assert len(BOTH) == 2
    assert BOTH["k"] is K
    assert "f" in BOTH
    assert repr(BOTH) == "<Prediction: 2 × 30 draws of f (3,), k ()>"
    assert repr(ONE) == "<Prediction: 30 draws of f (3,), k ()>"
    with pytest.raises(KeyError, match=r"no site 'g' in this prediction.* It has 'f', 'k'"):
        BOTH["g"]
    with pytest.raises(KeyError, match="is not the name of a site"):
        BOTH[["f"]]
    with pytest.raises(AttributeError, match=r"prediction\['f'\]"):
        BOTH.f  # noqa: B018


@pytest.mark.parametrize("prediction", [BOTH, ONE], ids=["chains", "draws"])
def test_moments_are_over_all_draws(prediction):
    leading = tuple(range(prediction.batch_ndims))
    torch.testing.assert_close(prediction.mean("f"), prediction["f"].mean(leading))
    torch.testing.assert_close(prediction.sd("f"), prediction["f"].flatten(0, len(leading) - 1).std(0))
    torch.testing.assert_close(prediction.mean("k"), prediction["k"].double().mean())


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4))
def test_quantiles_are_numpys(levels):
    flat = F.flatten(0, 1).numpy()
    np.testing.assert_allclose(BOTH.quantile(levels, "f"), np.quantile(flat, levels, axis=0), rtol=1e-12)
    np.testing.assert_allclose(BOTH.quantile(levels[0], "f"), np.quantile(flat, levels[0], axis=0), rtol=1e-12)
    np.testing.assert_allclose(
        BOTH.quantile(torch.tensor(levels), "k"),
        np.quantile(K.numpy(), np.float64(np.array(levels, dtype=np.float32)), axis=None),
        rtol=1e-6,
    )


def test_an_interval_is_central():
    low, high = BOTH.interval(0.8, "f")
    np.testing.assert_allclose([low, high], np.quantile(F.flatten(0, 1).numpy(), [0.1, 0.9], axis=0), rtol=1e-12)
    assert BOTH.interval(site="k")[0] == BOTH.quantile(0.05, "k")


@pytest.mark.parametrize("q", [-0.1, 1.1, [0.5, 2.0], float("nan"), [[0.5]], "half", None])
def test_what_is_no_level(q):
    with pytest.raises(PredictionError, match="quantile: q is .*, but must be one or several numbers from 0 to 1"):
        ONE.quantile(q)


@pytest.mark.parametrize("mass", [0.0, 1.0, -1.0, 2.0, float("nan")])
def test_what_is_no_mass(mass):
    with pytest.raises(PredictionError, match="interval: the mass is .*, but must lie strictly between 0 and 1"):
        ONE.interval(mass)


def test_the_site_may_be_left_out_where_one_was_drawn():
    torch.testing.assert_close(ONE.mean(), ONE.mean("f"))
    with pytest.raises(PredictionError, match="several sites to choose from, 'f', 'k': name one"):
        BOTH.mean()
    with pytest.raises(PredictionError, match="'f', 'k': name one"):
        Prediction(BOTH.sites, 2, ()).sd()


def test_a_summary_is_of_chains():
    table = BOTH.summary(["f"])
    assert list(table) == ["f"]
    np.testing.assert_allclose(table["f"]["mean"], F.mean((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(ONE.summary()["k"]["mean"], K[0].double().mean(), rtol=1e-12)
    with pytest.raises(KeyError, match="no site 'g'"):
        BOTH.summary(["g"])
