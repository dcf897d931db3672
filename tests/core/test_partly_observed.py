"""`obs_mask` and `subsample`: data of which a part is there."""

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import ObservationError, PlateError

DATA = torch.tensor([0.3, torch.nan, -0.8])


def program(data=DATA):
    s = su.sample("s", dist.HalfNormal(1.0))
    with su.plate("data", 3):
        x = su.sample("x", dist.Normal(0.0, s), obs=data, obs_mask=~torch.isnan(data))
        return su.sample("y", dist.Normal(2 * x, 1.0), obs=torch.ones(3))


def test_what_is_missing_is_drawn_and_the_program_continues_with_it():
    tr = su.trace(su.substitute(program, data={"x_unobserved": torch.tensor([9.0, 5.0, 9.0])})).get_trace()
    assert tr["x"].value.tolist() == pytest.approx([0.3, 5.0, -0.8])
    assert float(tr["x_observed"].log_prob()[1]) == 0.0
    assert torch.isfinite(tr.log_prob_sum())


def test_the_density_is_that_of_the_two_sites_written_out():
    def plain():
        seen = ~torch.isnan(DATA)
        s = su.sample("s", dist.HalfNormal(1.0))
        with su.plate("data", 3):
            drawn = su.sample("x_unobserved", dist.Normal(0.0, s))
            su.sample("x_observed", dist.Normal(0.0, s).mask(seen), obs=DATA)
            su.sample("y", dist.Normal(2 * torch.where(seen, DATA, drawn), 1.0), obs=torch.ones(3))

    q = torch.tensor([0.2, 0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    found, wanted = (su.infer.LogDensity(p)(q) for p in (program, plain))
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), abs=1e-12)
    assert torch.isfinite(torch.autograd.grad(found, q)[0]).all()


def test_vectors_masks_and_nothing_observed():
    with su.trace() as t:
        su.sample(
            "v", dist.Normal(torch.zeros(2, 3), 1.0).to_event(1), obs=torch.ones(2, 3), obs_mask=torch.tensor([True, False])
        )
        su.sample("w", dist.Normal(0.0, 1.0), obs=None, obs_mask=torch.tensor(True))
    assert t.trace["v"].value[0].tolist() == [1.0, 1.0, 1.0]
    assert not t.trace["w"].is_observed
    with pytest.raises(ObservationError, match=r"obs_mask of site 'z' .* must be boolean"):
        su.sample("z", dist.Normal(0.0, 1.0), obs=torch.zeros(2), obs_mask=torch.tensor([1.0, 0.0]))


def test_data_are_those_that_the_plates_have_present():
    data = torch.arange(12.0).reshape(4, 3)
    with su.plate("a", 4, subsample=torch.tensor([3, 0]), dim=-2), su.plate("b", 3, dim=-1):
        assert su.subsample(data).tolist() == [[9.0, 10.0, 11.0], [0.0, 1.0, 2.0]]
        assert su.subsample(su.subsample(data)).shape == (2, 3)
        assert su.subsample(torch.arange(4.0).reshape(4, 1)).flatten().tolist() == [3.0, 0.0]
    with su.plate("a", 4, subsample=torch.tensor([3, 0])):
        assert su.subsample(data.numpy(), event_dim=1).tolist() == [[9.0, 10.0, 11.0], [0.0, 1.0, 2.0]]
        assert su.subsample(torch.tensor(1.0)).item() == 1.0
        with pytest.raises(PlateError, match="'a' has size 4 and 2 of its elements present"):
            su.subsample(np.zeros(5))
    assert su.subsample(data) is data
