"""What somebody who comes from another library may give by mistake: each is an error of ours that says what to give."""

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import GuideError, SamplingError, VariationalError
from sursum.infer import SVI, Importance, RenyiELBO, autoguide, laplace
from sursum.infer.reparam import NeuTraReparam


def model():
    su.sample("mu", dist.Normal(0.0, 1.0))


def trained(kind=autoguide.AutoNormal):
    svi = SVI(model, kind(model), su.optim.Adam({"lr": 0.01}), seed=0)
    svi.run(1)
    return svi


def test_guides():
    for scale in ("a", -1.0, True):
        with pytest.raises(GuideError, match="`init_scale` is .*, but must be a number above 0"):
            autoguide.AutoNormal(model, init_scale=scale)
    with pytest.raises(GuideError, match=r"`init_loc_fn` is \{'mu': 1.0\}, but must be a function .* init_to_value"):
        autoguide.AutoNormal(model, init_loc_fn={"mu": 1.0})
    with pytest.raises(GuideError, match=r"init_to_value was given \[1.0\], and needs a mapping"):
        autoguide.init_to_value([1.0])


def test_what_has_been_learnt():
    svi = trained()
    for levels in (0.5, [1.5], []):
        with pytest.raises(GuideError, match="`levels` is .*, but must be a list of probabilities between 0 and 1"):
            svi.guide.quantiles(svi.params, levels)
    with pytest.raises(GuideError, match="`params` is dict, but must be the store of a run: give `svi.params`"):
        svi.guide.median({})
    with pytest.raises(GuideError, match="`params` is dict, but must be the store of a run: give `svi.params`"):
        NeuTraReparam(trained(autoguide.AutoMultivariateNormal).guide, {})


def test_settings():
    with pytest.raises(VariationalError, match=r"`early_stopping` is 5, but must be `EarlyStopping\("):
        SVI(model, autoguide.AutoNormal(model), su.optim.Adam({"lr": 0.01}), early_stopping=5)
    with pytest.raises(VariationalError, match="`params` is dict, but must be a store: give `svi.params`"):
        Importance(model, params={"a": torch.tensor(1.0)})
    with pytest.raises(VariationalError, match="`alpha` is 'a', but must be a finite number other than 1"):
        RenyiELBO("a")
    with pytest.raises(SamplingError, match="`?model`? .*a program, a callable"):
        laplace(3)
