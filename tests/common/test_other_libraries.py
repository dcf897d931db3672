"""Options and attributes that users of other libraries type are answered with what they are called here."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import MissingNameError, OptionError, PlateError, SamplingError, SiteError, StorageError, SursumError


def model(x=None):
    return su.sample("slope", dist.Normal(0.0, 1.0))


KERNEL = su.infer.NUTS(model)


@pytest.mark.parametrize(
    ("option", "answer"),
    [
        ("chains", "Write `num_chains=`"),
        ("draws", "Write `num_samples=`"),
        ("tune", "Write `num_warmup=`"),
        ("warmup_steps", "Write `num_warmup=`"),
        ("random_seed", "Write `seed=`"),
        ("rng_key", "a seed is a whole number here: `seed=0`"),
        ("progress_bar", "Write `progress=`"),
        ("target_accept", r"it is one of the kernel's: `NUTS\(model, target_accept=0.9\)`"),
        ("num_chain", r"Did you mean 'num_chains'"),
    ],
)
def test_options_of_a_run(option, answer):
    with pytest.raises(OptionError, match=rf"`MCMC` has no option `{option}`[.:] ?{answer}"):
        su.infer.MCMC(KERNEL, **{option: 2})
    with pytest.raises(TypeError):
        su.infer.MCMC(KERNEL, **{option: 2})


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (lambda: su.infer.NUTS(model, target_accept_prob=0.9), "Write `target_accept=`"),
        (lambda: su.infer.NUTS(model, adapt_delta=0.9), "Write `target_accept=`"),
        (lambda: su.infer.NUTS(model, step_size=0.1), "the warm-up adapts it"),
        (lambda: su.infer.NUTS(model, dense_mass=True), "metric='dense'"),
        (lambda: su.sample("y", dist.Normal(0.0, 1.0), observed=1.0), "`sample` has no option `observed`. Write `obs=`"),
        (lambda: su.sample("y", dist.Normal(0.0, 1.0), rng_key=1), "seed"),
        (lambda: su.sample("y", dist.Normal(0.0, 1.0), sample_shape=(3,)), "plate around it"),
        (lambda: su.param("a", init_value=1.0), "Write `init=`"),
        (lambda: su.lift(model, priors={}), "Write `prior=`"),
        (lambda: su.lift(model, slope=dist.Normal(0.0, 1.0)), r"`lift\(model, prior=\{'slope': …\}\)`"),
        (lambda: su.condition(model, y=1.0), r"`condition\(model, data=\{'y': …\}\)`"),
        (lambda: su.do(model, y=1.0), r"`do\(model, data=\{'y': …\}\)`"),
        (lambda: su.seed(model, rng_key=1), "Write `rng_seed=`"),
        (lambda: su.infer.MCMC(KERNEL, 100, 200), r"It takes kernel by position, and by name num_warmup=, num_samples="),
        (lambda: su.sample("y"), "missing a required argument: 'fn'"),
    ],
)
def test_options_of_verbs(call, answer):
    with pytest.raises(OptionError, match=answer):
        call()


def test_a_type_error_from_inside_is_left_as_it_is():
    def wrong(**given):
        return given["value"] + None

    with pytest.raises(TypeError, match="unsupported operand") as caught:
        su.param("p", lambda: wrong(value=1))
    assert not isinstance(caught.value, OptionError)


def posterior():
    z = torch.zeros(1, 2, dtype=torch.float64)
    return su.Posterior({"intercept": z, "slope": z, "sigma": z}, {}, np.zeros((1, 2, 3)))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("slope", r"sites are read by name, `posterior\['slope'\]`"),
        ("get_samples", r"`posterior\['name'\]`"),
        ("posterior", r"`posterior\['name'\]`"),
        ("print_summary", r"print\(posterior.summary\(\)\)"),
        ("mean", "posterior.summary"),
        ("sumary", "Did you mean 'summary'"),
    ],
)
def test_attributes_of_a_posterior(name, answer):
    with pytest.raises(MissingNameError, match=rf"Posterior has no attribute '{name}'.*{answer}"):
        getattr(posterior(), name)
    assert not hasattr(posterior(), name)
    again = pickle.loads(pickle.dumps(copy.deepcopy(posterior())))
    assert list(again) == ["intercept", "slope", "sigma"]


@pytest.mark.parametrize("name", ["get_samples", "print_summary", "summary"])
def test_a_run_keeps_nothing(name):
    with pytest.raises(MissingNameError, match=r"`run` returns them: posterior = mcmc.run"):
        getattr(su.infer.MCMC(KERNEL), name)


def test_a_site_that_does_not_exist_is_answered_with_all_there_are():
    draws = posterior()
    with pytest.raises(KeyError, match=r"no site 'nope' in these draws\..* It has 'intercept', 'slope', 'sigma'"):
        draws["nope"]
    with pytest.raises(KeyError, match=r"no site 'slop' in these draws\. Did you mean 'slope'\?"):
        draws.summary(["slop"])
    with pytest.raises(KeyError, match=r"one at a time, as in `draws\['intercept'\]`"):
        draws["slope", ["sigma"]]
    assert list(draws.summary("slope")) == ["slope"]


@pytest.mark.parametrize("suffix", [".nc", ".pkl", ".pt", ".csv"])
def test_a_posterior_is_not_saved_under_the_name_of_another_kind_of_file(tmp_path, suffix):
    with pytest.raises(StorageError, match=r"would be a file in NumPy's .npz format with the suffix of another"):
        posterior().save(tmp_path / f"run{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("whole", [np.int64(3), np.uint8(3), torch.tensor(3)])
def test_whole_numbers_of_numpy_and_torch(whole):
    mcmc = su.infer.MCMC(KERNEL, num_samples=whole, num_warmup=whole, num_chains=whole, seed=whole, cores=whole)
    assert [mcmc.num_samples, mcmc.seed] == [3, 3]
    assert type(mcmc.seed) is int
    assert type(su.infer.Trace_ELBO(num_particles=whole).num_particles) is int
    assert su.infer.Pathfinder(model, seed=whole).seed == 3
    assert su.infer.Predictive(model, num_samples=whole, seed=whole)()["slope"].shape == (3,)
    assert su.infer.Importance(model, num_samples=whole, seed=whole).num_samples == 3


@pytest.mark.parametrize("wrong", [True, 3.0, np.float64(3), torch.tensor(3.0), torch.tensor(True), "3", None, np.bool_(True)])
def test_what_is_no_whole_number(wrong):
    with pytest.raises(SamplingError, match="`num_samples` is .*, but must be an integer of at least 1"):
        su.infer.MCMC(KERNEL, num_samples=wrong)


def test_no_message_prints_a_tensor():
    x = torch.arange(1000.0)
    for call in (
        lambda: su.infer.NUTS(model, x),
        lambda: su.infer.MCMC(KERNEL, num_samples=x),
        lambda: su.lift(x, prior=dist.Normal(0.0, 1.0)),
        lambda: su.infer.SVI(model, model, su.optim.Adam(lr=0.1)).run(x, x),
    ):
        with pytest.raises(SursumError) as caught:
            call()
        assert "a tensor of shape (1000,) of torch.float32" in str(caught.value)
        assert "0.0000e" not in str(caught.value)


def test_a_plate_whose_arguments_changed_places():
    with pytest.raises(PlateError, match=r"plate\('data', 100\), but got 100, 'data'"):
        su.plate(100, "data")


def test_a_constraint_given_by_its_name():
    with pytest.raises(
        SiteError, match=r"constraint of parameter 's' .* is 'positive', but must be one of .*constraints.positive"
    ):
        su.param("s", torch.tensor(1.0), constraint="positive")
