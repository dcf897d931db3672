"""What is checked at a site, whether torch's process-wide flag is on or off."""

import asyncio
import contextlib
import re
import threading

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import ArgumentError, ObservationError, PlateError

P = su.poutine
NAN, INF = float("nan"), float("inf")


@pytest.fixture(params=[True, False], ids=["flag on", "flag off"])
def _flag(request):
    """torch's flag as it is, and as the first `torch.compile` wrapper of a process leaves it."""
    before = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(request.param)
    yield
    torch.distributions.Distribution.set_default_validate_args(before)


@pytest.fixture
def _flag_off():
    before = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)
    yield
    torch.distributions.Distribution.set_default_validate_args(before)


def affine(base, loc, scale):
    return dist.TransformedDistribution(base, [dist.transforms.AffineTransform(loc, scale)])


# Observations.


@pytest.mark.usefixtures("_flag")
@pytest.mark.parametrize(
    ("fn", "obs", "found"),
    [
        (lambda: dist.Exponential(1.0), [1.0, -2.0, 3.0, -4.0], r"found \[1\] = -2.0, \[3\] = -4.0"),
        (lambda: dist.Exponential(1.0).expand([2]), [1.0, -2.0], r"found \[1\] = -2.0"),
        (lambda: dist.Exponential(torch.ones(2)).to_event(1), [1.0, -2.0], r"found \[1.0, -2.0\]"),
        (lambda: dist.Poisson(1.0), [1.5], r"\[0\] = 1.5"),
        (lambda: dist.Bernoulli(0.5), [0.0, 2.0], r"\[1\] = 2.0"),
        (lambda: dist.Categorical(torch.ones(3)), [0, 3], r"\[1\] = 3"),
        (lambda: dist.Uniform(0.0, torch.tensor([1.0, 2.0])), [1.5, 1.5], r"\[0\] = 1.5"),
        (lambda: dist.Dirichlet(torch.ones(2)), [[0.5, 0.6]], r"\[0\] = \[0.5"),
        (lambda: dist.Normal(0.0, 1.0), [NAN, 0.0], r"\[0\] = nan"),
        (lambda: dist.Normal(0.0, 1.0), [0.0, INF], r"\[1\] = inf"),
        (lambda: dist.LogNormal(0.0, 1.0), [-1.0], r"\[0\] = -1.0"),
        (lambda: dist.MultivariateNormal(torch.zeros(2), torch.eye(2)), [[0.0, NAN], [0.0, 0.0]], r"\[0\] = \[0.0, nan\]"),
        (lambda: affine(dist.Exponential(1.0), 2.0, 3.0), [2.5, 1.5], r"\[1\] = 1.5"),
        (lambda: affine(dist.Exponential(torch.ones(2)), 2.0, 3.0).to_event(1), [2.5, 1.5], "found"),
        (lambda: dist.Exponential(1.0).mask(torch.tensor([True, False])), [-1.0, -2.0], r"found \[0\] = -1.0\."),
        (
            lambda: dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), dist.Exponential(torch.ones(2))),
            [1.0, -1.0],
            r"\[1\] = -1.0",
        ),
    ],
)
def test_an_observation_outside_the_support_is_named(fn, obs, found):
    with pytest.raises(ObservationError, match=rf"given to site 'y' \(test_validation.py:\d+\) is (not|outside).*{found}"):
        su.sample("y", fn(), obs=torch.tensor(obs))


def test_only_a_few_of_many_values_are_shown():
    with pytest.raises(ObservationError, match=r"\[0\] = -1.0, \[1\] = -1.0, \[2\] = -1.0 and 97 more"):
        su.sample("y", dist.Exponential(1.0), obs=-torch.ones(100))


def test_a_value_outside_is_told_from_one_that_is_not_finite():
    with pytest.raises(ObservationError, match="is outside the support"):
        su.sample("y", dist.Exponential(1.0), obs=torch.tensor([-1.0]))
    with pytest.raises(ObservationError, match="is not finite or outside"):
        su.sample("y", dist.Exponential(1.0), obs=torch.tensor([NAN]))
    with (
        P.mask(mask=torch.tensor([True, False])),
        pytest.raises(ObservationError, match=r"is outside the support .*found \[0\] = -1.0\."),
    ):
        su.sample("y", dist.Exponential(1.0), obs=torch.tensor([-1.0, NAN]))


@pytest.mark.parametrize(
    ("fn", "obs"),
    [
        (dist.Normal(torch.zeros(5), 1.0), torch.zeros(5, 1)),
        (dist.Normal(torch.zeros(5, 1), 1.0), torch.zeros(5)),
        (dist.Normal(torch.zeros(5), 1.0), torch.zeros(6)),
        (dist.Normal(torch.zeros(5), 1.0).to_event(1), torch.zeros(1)),
        (dist.Normal(torch.zeros(5), 1.0).to_event(1), torch.tensor(0.0)),
        (dist.MultivariateNormal(torch.zeros(2), torch.eye(2)), torch.zeros(2, 3)),
    ],
)
def test_an_observation_of_another_shape_is_refused(fn, obs):
    with pytest.raises(ObservationError, match=r"has shape .* its distribution has batch shape .* Give both the same shape"):
        su.sample("y", fn, obs=obs)


@pytest.mark.parametrize(("batch", "shape"), [((), (5,)), ((5,), (5,)), ((1,), (5,)), ((1,), ()), ((5,), (2, 5)), ((0,), (0,))])
def test_a_distribution_that_broadcasts_to_the_value_is_fine(batch, shape):
    with P.trace() as t:
        su.sample("y", dist.Normal(torch.zeros(batch), 1.0), obs=torch.zeros(shape))
    assert t.trace["y"].log_prob().shape == torch.broadcast_shapes(batch, shape)


@pytest.mark.parametrize(
    ("batch", "shape", "plates"),
    [
        ((3,), (), {}),
        ((2, 3), (3,), {}),
        ((3, 1), (3,), {-1: 3}),  # a network's column against a row of data, and so on
        ((3, 1), (3, 1), {-1: 3}),
        ((2, 3), (3,), {-1: 3}),
        ((2, 3), (), {-1: 3}),
        ((5, 1, 3), (2, 3), {-1: 3, -2: 2}),
    ],
)
def test_a_batch_that_neither_value_nor_plates_have_is_refused(batch, shape, plates):
    with contextlib.ExitStack() as stack:
        for dim, size in plates.items():
            stack.enter_context(su.plate(f"p{-dim}", size, dim=dim))
        with pytest.raises(
            ObservationError, match=rf"'y' .* batch shape {re.escape(str(shape))}, .*counted more than once.*squeeze"
        ):
            su.sample("y", dist.Normal(torch.zeros(batch), 1.0), obs=torch.zeros(shape))


@pytest.mark.parametrize(
    ("batch", "shape", "plates", "terms"),
    [
        ((), (), {-1: 3}, 3),
        ((), (3,), {-1: 3, -2: 2}, 6),
        ((2, 1), (3,), {-1: 3, -2: 2}, 6),
        ((3,), (2, 3), {-1: 3}, 6),
        ((2, 3), (2, 3), {-1: 3}, 6),
        ((1, 3), (3,), {-1: 3}, 3),
        ((3, 1), (3, 1), {-2: 3}, 3),
    ],
)
def test_a_batch_of_the_plates_or_of_the_value_is_fine(batch, shape, plates, terms):
    with contextlib.ExitStack() as stack:
        t = stack.enter_context(P.trace())
        for dim, size in plates.items():
            stack.enter_context(su.plate(f"p{-dim}", size, dim=dim))
        su.sample("y", dist.Normal(torch.zeros(batch), 1.0), obs=torch.zeros(shape))
    assert t.trace["y"].log_prob().numel() == terms


def test_a_subsampled_plate_has_the_size_that_is_present():
    y = torch.zeros(10)
    with su.plate("data", 10, subsample_size=4) as index:
        su.sample("y", dist.Normal(torch.zeros(4), 1.0), obs=y[index])
        with pytest.raises(ObservationError, match=r"plate 'data' \(4 at dim -1\): together they broadcast to \(4, 4\)"):
            su.sample("z", dist.Normal(torch.zeros(4, 1), 1.0), obs=y[index])


def column(x, y=None):
    """A network's output, (n, 1), in the place of one number for each row."""
    slope = su.sample("slope", dist.Normal(0.0, 1.0))
    with su.plate("data", len(x)):
        return su.sample("y", dist.Normal(slope * x, 1.0), obs=y)


def column_guide(x, y=None):
    su.sample("slope", dist.Normal(su.param("loc", torch.tensor(0.0)), 1.0))


COLUMN, ROW = torch.ones(4, 1), torch.arange(4.0)
ELBOS = (su.infer.Trace_ELBO(), su.infer.TraceMeanField_ELBO(), su.infer.RenyiELBO())


@pytest.mark.parametrize(
    "run",
    [
        lambda: su.trace(column).get_trace(COLUMN, ROW),
        lambda: su.trace(su.condition(column, data={"y": ROW})).get_trace(COLUMN),
        lambda: su.compile(column, COLUMN, ROW),
        lambda: su.compile(column, COLUMN, ROW, engine="torch"),
        lambda: su.infer.MCMC(su.infer.NUTS(column), progress=False).run(COLUMN, ROW),
        lambda: su.infer.Fit(column).run(COLUMN, ROW),
        lambda: su.infer.Fit(column, optim=torch.optim.SGD).run(COLUMN, ROW),
        lambda: su.infer.Laplace(column).run(COLUMN, ROW),
        lambda: su.infer.Pathfinder(column).run(COLUMN, ROW),
        lambda: su.infer.Importance(column).run(COLUMN, ROW),
        lambda: su.infer.log_likelihood(column, {"slope": torch.zeros(2)}, COLUMN, ROW),
        lambda: su.infer.Predictive(column, {"slope": torch.zeros(2)}, seed=0)(COLUMN, ROW),
        lambda: su.infer.SBC(column, num_simulations=2).run(COLUMN, ROW),
        *(
            lambda elbo=elbo: su.infer.SVI(column, column_guide, su.optim.Adam({"lr": 0.1}), elbo, seed=0).run(2, COLUMN, ROW)
            for elbo in ELBOS
        ),
    ],
)
def test_every_inference_refuses_a_column_against_a_row(run):
    with pytest.raises(ObservationError, match=r"site 'y' .* batch shape \(4,\), .*\(4, 4\), in plate 'data' \(4 at dim -1\)"):
        run()


def test_a_guide_may_not_draw_a_batch_that_its_model_has_not():
    def model():
        with su.plate("data", 3):
            z = su.sample("z", dist.Normal(torch.zeros(3, 1), 1.0))
        su.factor("f", -z.sum())

    def guide():
        with su.plate("data", 3):
            su.sample("z", dist.Normal(su.param("loc", torch.zeros(3)), 1.0))

    with pytest.raises(ObservationError, match=r"site 'z' .* batch shape \(3,\), and its distribution has \(3, 3\)"):
        su.infer.Trace_ELBO().loss(model, guide)


@pytest.mark.parametrize("model", [lambda y: su.sample("y", dist.Normal(su.sample("m", dist.Normal(0.0, 1.0)), 1.0), obs=y)])
def test_particles_are_no_stray_dimension(model):
    loss = su.infer.Trace_ELBO(num_particles=6, vectorize_particles=True)
    guide = su.infer.autoguide.AutoDelta(model)
    expected = -float(dist.Normal(0.0, 1.0).log_prob(ROW).sum() + dist.Normal(0.0, 1.0).log_prob(torch.tensor(0.0)))
    with su.ParamStore():
        assert loss.loss(model, guide, ROW) == pytest.approx(expected, rel=1e-6)


def test_a_step_of_a_scan_is_checked():
    def step(carry, y):
        with su.plate("data", 3):
            su.sample("y", dist.Normal(torch.zeros(3, 1), 1.0), obs=y)
        return carry, None

    with pytest.raises(ObservationError, match=r"\(3, 3\), in plate 'data'"):
        su.scan(step, torch.tensor(0.0), torch.zeros(5, 3))


def test_masks_leave_elements_out_and_add_none():
    upright, row = torch.ones(3, 1, dtype=torch.bool), torch.ones(3, dtype=torch.bool)
    with su.plate("data", 3):
        with P.mask(mask=row):
            su.sample("y", dist.Normal(0.0, 1.0), obs=torch.zeros(3))
        with P.mask(mask=upright), pytest.raises(PlateError, match=r"site 'z' .*shape \(3,\), but its mask .*\(3, 1\)"):
            su.sample("z", dist.Normal(0.0, 1.0), obs=torch.zeros(3))
        with pytest.raises(ObservationError, match=r"together they broadcast to \(3, 3\)"):
            su.sample("w", dist.Normal(0.0, 1.0).mask(upright), obs=torch.zeros(3))
    with P.mask(mask=row), pytest.raises(PlateError, match=r"site 'm' .* shape \(\), but its mask has shape \(3,\)"):
        su.sample("m", dist.Normal(0.0, 1.0))
    with P.mask(mask=row), pytest.raises(PlateError, match="site 'f'"):
        su.factor("f", torch.tensor(1.0))


def test_a_factor_is_not_multiplied_by_a_plate_beside_it():
    with P.trace() as t, su.plate("data", 3):
        su.factor("whole", torch.ones(2, 3))
        su.factor("one", torch.tensor(1.0))
        with pytest.raises(PlateError, match=r"factor 'column' .* shape \(3, 1\), in plate 'data' .* broadcast to \(3, 3\)"):
            su.factor("column", torch.ones(3, 1))
    assert float(t.trace.log_prob_sum()) == 9.0


def test_missing_values_may_be_masked():
    data = torch.tensor([1.0, NAN])
    with P.mask(mask=torch.isfinite(data)):
        su.sample("y", dist.Normal(0.0, 1.0), obs=data)
    su.sample("y", dist.Normal(0.0, 1.0).mask(torch.isfinite(data)), obs=data)


def test_gradients_through_a_masked_distribution_are_finite():
    loc = torch.tensor(0.0, requires_grad=True)
    data = torch.tensor([1.0, NAN])
    with P.trace() as t:
        su.sample("y", dist.Normal(loc, 1.0).mask(torch.isfinite(data)), obs=data)
    t.trace.log_prob_sum().backward()
    assert float(loc.grad) == 1


def test_conditioning_is_checked_as_observing_is():
    model = P.condition(lambda: su.sample("y", dist.Exponential(1.0)), data={"y": torch.tensor(-1.0)})
    with pytest.raises(ObservationError, match="given to site 'y'"):
        model()


# Arguments.


@pytest.mark.usefixtures("_flag_off")
@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda: dist.Normal(0.0, -1.0), r"the argument 'scale' of Normal must satisfy .*; found -1.0"),
        (lambda: dist.Normal(0.0, torch.tensor([1.0, NAN])), r"'scale' of Normal .*found \[1\] = nan"),
        (lambda: dist.Normal(0.0, -1.0).expand([2]), "'scale' of Normal"),
        (lambda: dist.Normal(torch.zeros(2), -1.0).to_event(1), "'scale' of Normal"),
        (lambda: dist.Normal(torch.zeros(2), -1.0).mask(True), "'scale' of Normal"),
        (lambda: dist.LogNormal(0.0, -1.0), "'scale' of"),
        (lambda: affine(dist.Exponential(-1.0), 0.0, 1.0), "'rate' of Exponential"),
        (lambda: dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), dist.Normal(torch.zeros(2), -1.0)), "'scale'"),
        (lambda: dist.Bernoulli(probs=torch.tensor(1.7)), r"'probs' of Bernoulli .* found 1.7"),
        (lambda: dist.Gamma(torch.tensor(-0.5), 1.0), "'concentration' of Gamma"),
    ],
)
def test_arguments_are_checked_although_torch_does_not(fn, message):
    with pytest.raises(
        ArgumentError, match=r"site 'z' \(test_validation.py:\d+\): the argument .*Constrain the values"
    ) as error:
        su.sample("z", fn())
    assert re.search(message, str(error.value))


@pytest.mark.usefixtures("_flag_off")
def test_good_arguments_pass_and_the_flag_stays_as_it_is():
    for fn in (dist.Normal(0.0, 1.0), dist.MultivariateNormal(torch.zeros(2), torch.eye(2)), dist.Bernoulli(logits=0.3)):
        su.sample("z", fn)
    assert torch.distributions.Distribution._validate_args is False


def test_an_explicit_wish_not_to_be_checked_is_respected():
    fn = dist.Exponential(torch.tensor(1.0), validate_args=False)
    assert su.sample("y", fn, obs=torch.tensor(-1.0)) == -1


# The switch.


def test_the_switch_and_its_context():
    assert su.is_validation_enabled()
    with su.enable_validation(False):
        assert not su.is_validation_enabled()
        assert su.sample("y", dist.Exponential(1.0, validate_args=False), obs=torch.tensor(-1.0)) == -1
        with su.enable_validation(True):
            assert su.is_validation_enabled()
        assert not su.is_validation_enabled()
    assert su.is_validation_enabled()
    su.enable_validation(False)
    assert not su.is_validation_enabled()
    su.enable_validation()
    assert su.is_validation_enabled()


def test_the_switch_may_be_used_again():
    off = su.enable_validation(False)
    for _ in range(2):
        with off:
            assert not su.is_validation_enabled()
        assert su.is_validation_enabled()


def test_the_switch_belongs_to_a_thread_or_task():
    seen = []
    with su.enable_validation(False):
        thread = threading.Thread(target=lambda: seen.append(su.is_validation_enabled()))
        thread.start()
        thread.join()

        async def task():
            su.enable_validation(True)
            return su.is_validation_enabled()

        assert asyncio.run(task())
        assert not su.is_validation_enabled()
    assert seen == [True]


def test_a_value_in_the_support_of_any_component_of_a_mixture_is_inside():
    histogram = dist.MixtureSameFamily(
        dist.Categorical(torch.tensor([0.2, 0.5, 0.3])),
        dist.Uniform(torch.tensor([0.0, 1.0, 4.0]), torch.tensor([1.0, 2.0, 5.0])),
    )

    def model(y):
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        su.sample("y", histogram.expand([2]), obs=y)
        su.sample("z", dist.Normal(mu, 1.0), obs=torch.tensor(1.0))

    value, _ = su.compile(model, torch.tensor([1.4, 4.5])).value_and_grad(np.array([0.5]))
    assert value == pytest.approx(-0.25 - np.log(2 * np.pi) + np.log(0.5 * 0.3), rel=1e-6)
    with pytest.raises(ObservationError, match=r"(?s)outside the support.*found \[1\] = 3.0"):
        su.compile(model, torch.tensor([1.4, 3.0]))
