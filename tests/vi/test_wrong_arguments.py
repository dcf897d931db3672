"""What somebody who comes from another library may give by mistake: each is an error of ours that says what to give."""

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import (
    ArgumentError,
    CallError,
    DiagnosticWarning,
    GuideError,
    HandlerError,
    OptimisationError,
    VariationalError,
)
from sursum.infer import SVI, Importance, Laplace, RenyiELBO, Trace_ELBO, autoguide
from sursum.infer.reparam import LocScaleReparam, NeuTraReparam


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
    with pytest.raises(OptimisationError, match="`model` is 3, but must be a program, a callable"):
        Laplace(3)


def test_options_of_optimisers():
    with pytest.raises(
        OptimisationError, match=r"the options of Adam are 0.02, but must be a mapping.*su.optim.Adam\(lr=0.01\)"
    ):
        su.optim.Adam(0.02)
    with pytest.raises(OptimisationError, match=r"torch.optim.Adam has no option 'nonsense'. Its options are lr, betas, eps"):
        su.optim.Adam(nonsense=1)
    with pytest.raises(OptimisationError, match=r"torch.optim.Adam rejects the options \{'lr': -1.0\}: Invalid learning rate"):
        su.optim.Adam({"lr": -1.0})
    with pytest.raises(OptimisationError, match="the options of ClippedAdam are 0.02, but must be a mapping"):
        su.optim.ClippedAdam(0.02)
    with pytest.raises(OptimisationError, match="`lrd` is 'a', but must be a number above 0"):
        su.optim.ClippedAdam({"lrd": "a"})
    with pytest.raises(OptimisationError, match="`clip_norm` is 'a', but must be a number above 0"):
        su.optim.Adam(clip_norm="a")
    with pytest.raises(OptimisationError, match="`scheduler` is 3, but must be a function from a torch optimiser"):
        su.optim.Adam(scheduler=3)
    svi = SVI(model, autoguide.AutoNormal(model), su.optim.Adam(lambda name: 0.1), seed=0)
    with pytest.raises(OptimisationError, match=r"the options of parameter 'auto.loc.mu' are 0.1, but must be a mapping"):
        svi.run(1)


def regression(x, y=None):
    su.sample("y", dist.Normal(su.param("slope", torch.tensor(0.0)) * x, 1.0), obs=y)


def with_latent(x):
    su.sample("y", dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 1.0), obs=x)


class Net(torch.nn.Module):
    def forward(self, x):
        return su.sample("mu", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize(
    ("run", "name"),
    [
        (lambda: su.infer.Fit(regression).run(), r"regression\(x, y=None\)"),
        (lambda: su.infer.Laplace(with_latent).run(), r"with_latent\(x\)"),
        (lambda: su.infer.Pathfinder(with_latent).run(), r"with_latent\(x\)"),
        (lambda: Importance(with_latent).run(), r"with_latent\(x\)"),
        (lambda: SVI(with_latent, autoguide.AutoNormal(with_latent), su.optim.Adam()).run(100), r"with_latent\(x\)"),
        (lambda: su.infer.LogDensity(Net()), r"Net\(x\)"),
        (lambda: su.poutine.trace(su.poutine.block(with_latent)).get_trace(), r"with_latent\(x\)"),
    ],
)
def test_programs_without_their_data(run, name):
    with pytest.raises(
        CallError, match=rf"the program {name} cannot be called with \(\): missing a required argument: 'x'. Pass"
    ):
        run()


def test_a_type_error_of_the_program_is_its_own():
    def wrong(x):
        with_latent()

    with pytest.raises(TypeError, match=r"with_latent\(\) missing 1 required positional argument") as found:
        su.poutine.trace(wrong).get_trace(1.0)
    assert not isinstance(found.value, CallError)


def test_reparam():
    for config in (None, "mu"):
        with pytest.raises(HandlerError, match=r"the configuration of reparam is .*, but must be a mapping from names"):
            su.reparam(model, config)
    with pytest.raises(
        HandlerError, match=r"got the class LocScaleReparam for 'mu', but an instance of a reparameteriser was expected"
    ):
        su.reparam(model, {"mu": LocScaleReparam})
    with pytest.raises(HandlerError, match=r"got 0.5 for 'mu', but an instance of a reparameteriser was expected"):
        su.reparam(model, {"mu": 0.5})


def test_nesting_of_plates():
    for nesting in ("a", -1, True, 1.0):
        with pytest.raises(VariationalError, match="`max_plate_nesting` is .*, but must be an integer of at least 0"):
            Trace_ELBO(max_plate_nesting=nesting)


def test_names_of_parameters():
    with pytest.raises(KeyError, match=r"no parameter 'auto.loc.nu' in this store; there are 'auto.loc.mu'"):
        trained().params["auto.loc.nu"]
    with pytest.raises(KeyError, match="no parameter 'nope' in this store; there are none yet"):
        su.ParamStore()["nope"]


def test_programs_given_as_classes():
    with pytest.raises(VariationalError, match=r"`guide` is the class AutoNormal, .*: write AutoNormal\(model\)\."):
        SVI(model, autoguide.AutoNormal, su.optim.Adam())
    with pytest.raises(VariationalError, match=r"`model` is the class Net, .*: write Net\(…\)\."):
        SVI(Net, autoguide.AutoNormal(model), su.optim.Adam())


def test_where_a_checkpoint_goes_is_asked_before_the_run():
    with pytest.raises(VariationalError, match="`checkpoint` is 3, but must be the path of a file"):
        SVI(model, autoguide.AutoNormal(model), su.optim.Adam(), checkpoint=3)


def test_another_models_checkpoint_changes_nothing(tmp_path):
    trained().save(tmp_path / "one.npz")

    def other():
        su.sample("nu", dist.Normal(0.0, 1.0))

    svi = SVI(other, autoguide.AutoNormal(other), su.optim.Adam({"lr": 0.01}), seed=0)
    svi.load(tmp_path / "one.npz")
    with pytest.raises(VariationalError, match="the saved parameters are not .*. Saved: 'auto.loc.mu'"):
        svi.run(1)
    assert len(svi.losses) == 0


@pytest.mark.parametrize("seed", ["a", -1, True, 1.5])
def test_the_seed_of_a_fit(seed):
    with pytest.raises(OptimisationError, match="`seed` is .*, but must be an integer of at least 0"):
        su.infer.Fit(regression, seed=seed).run(torch.ones(2), torch.ones(2))


@pytest.mark.parametrize("centered", ["a", True, 1.5, float("nan"), torch.tensor(1.5), torch.tensor([0.5, float("nan")])])
def test_a_centring_that_is_no_share(centered):
    with pytest.raises(ArgumentError, match="centered must lie between 0 and 1, but is"):
        LocScaleReparam(centered)


def test_a_fit_to_no_data_says_so():
    with pytest.warns(DiagnosticWarning, match=r"there are no data: every observed site \('y'\) is empty.*\('slope'\)"):
        found = su.infer.Fit(regression).run(torch.ones(0), torch.ones(0))
    assert float(found["slope"]) == 0.0


def test_particles_of_programs_that_take_no_batch():
    net = torch.nn.Linear(2, 1)
    lifted = su.lift(lambda x, y: su.sample("y", dist.Normal(su.module("net", net)(x)[:, 0], 1.0).to_event(1), obs=y),
                     dist.Normal(0.0, 1.0))  # fmt: skip
    data = torch.ones(3, 2), torch.ones(3)
    svi = SVI(lifted, autoguide.AutoNormal(lifted), su.optim.Adam(), seed=0)
    svi.run(1, *data)
    loss = Trace_ELBO(num_particles=4, vectorize_particles=True)
    with svi.params, pytest.raises(VariationalError, match="do not take a batch of 4 particles: .*leave vectorize_"):
        loss.loss(lifted, svi.guide, *data)


def test_what_is_no_fault_of_the_batch_is_not_blamed_on_it():
    def failing():
        x = su.sample("x", dist.Normal(0.0, 1.0))
        torch.linalg.cholesky(-torch.eye(2))
        su.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(0.0))

    def guide():
        su.sample("x", dist.Normal(0.0, 1.0))

    loss = Trace_ELBO(num_particles=4, vectorize_particles=True, max_plate_nesting=0)
    with pytest.raises(torch.linalg.LinAlgError, match="not positive-definite"):
        loss.loss(failing, guide)


def test_a_fit_to_no_data_that_something_else_determines():
    def program(y):
        a = su.param("a", torch.tensor(0.0))
        su.factor("f", -((a - 1.0) ** 2))
        su.sample("y", dist.Normal(a, 1.0), obs=y)

    assert float(su.infer.Fit(program).run(torch.ones(0))["a"]) == pytest.approx(1.0)
