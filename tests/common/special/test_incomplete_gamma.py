"""The incomplete gamma function and its derivatives: against mpmath with 50 digits, in C, and in programs."""

import numpy as np
import pytest
import torch
from scipy import stats
from tests.compiler.native.agreement import compiled

import sursum as su
import sursum.distributions as dist
from sursum.common.precision import in_double
from sursum.common.special.incomplete_gamma import INCOMPLETE, Which, gammainc, gammaincc, incomplete_gamma

D = torch.float64
INF, NAN = float("inf"), float("nan")

#: a, x, P(a, x), 1 − P, ∂P/∂a, ∂P/∂x
TABLE = np.array([
    (1e-08, 0.6, 0.999999995456205, 4.543795061509061e-09, -0.45437950911241004, 9.146860607639712e-09),
    (0.001, 0.02, 0.996650113315132, 0.0033498866848680016, -3.3450688056813522, 0.04884672703909789),
    (0.5, 0.1, 0.345279153981423, 0.654720846018577, -0.8229360969795988, 1.6143422587153617),
    (0.5, 4.0, 0.9953222650189527, 0.004677734981047266, -0.016565975346630367, 0.005166746338523013),
    (0.9, 1.5, 0.8081778415035624, 0.19182215849643755, -0.3064298536526648, 0.2005036655123415),
    (1.0, 1.0, 0.6321205588285577, 0.36787944117144233, -0.4317297106348987, 0.36787944117144233),
    (2.5, 40.0, 0.9999999999999991, 8.391825114831611e-16, -2.5267860704828765e-15, 8.084897366214368e-16),
    (9.99, 3.0, 0.001116730794537766, 0.9988832692054622, -0.001432929050643307, 0.0027318104004511634),
    (10.0, 10.0, 0.5420702855281478, 0.4579297144718522, -0.12721482320991925, 0.1251100357211333),
    (30.0, 0.3, 5.806457425277673e-49, 1.0, -2.683779001206838e-48, 5.750283040887766e-47),
    (170.5, 170.5, 0.5101845204555053, 0.48981547954449467, -0.030567518244963957, 0.030537649720812177),
    (170.5, 120.0, 8.286343757472144e-06, 0.9999917136562425, -3.0378490790600006e-06, 3.6361783465420672e-06),
    (1000.0, 1100.0, 0.99894067674607, 0.0010593232539299773, -0.00011048987784079389, 0.00010537028564234359),
    (30000.0, 30300.0, 0.958026828894268, 0.041973171105731934, -0.0005164842407310573, 0.0005139202926932764),
    (2000000.0, 2002000.0, 0.921315835878439, 0.07868416412156093, -0.000103794146022278, 0.0001037422835127506),
])  # fmt: skip


@pytest.mark.parametrize("which", Which)
def test_it_is_right_to_twelve_digits(which):
    found = incomplete_gamma(TABLE[:, 0], TABLE[:, 1], which)
    np.testing.assert_allclose(found, TABLE[:, 2 + which], rtol=1e-12)


@pytest.mark.parametrize(("a", "x", "wanted"), [
    (2.0, 0.0, (0.0, 1.0, 0.0, 0.0)), (1.0, 0.0, (0.0, 1.0, 0.0, 1.0)), (0.5, 0.0, (0.0, 1.0, 0.0, INF)),
    (2.0, INF, (1.0, 0.0, 0.0, 0.0)), (INF, 2.0, (0.0, 1.0, 0.0, 0.0)), (2.0, 1e300, (1.0, 0.0, 0.0, 0.0)),
    (1e300, 1e-300, (0.0, 1.0, 0.0, 0.0)), (0.0, 2.0, (1.0, 0.0, -0.0489005107080611, 0.0)),
    *((a, x, (NAN,) * 4) for a, x in ((0.0, 0.0), (INF, INF), (-1.0, 1.0), (1.0, -1.0), (NAN, 1.0), (1.0, NAN))),
])  # fmt: skip
def test_at_the_edges_it_is_the_limit(a, x, wanted):
    found = [float(incomplete_gamma(np.array([a]), np.array([x]), which)[0]) for which in Which]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_every_region_goes_over_into_the_next():
    for a, x in ((10.0, 9.0), (10.0, 13.0), (1e6, 1e6), (1e6, 1.002e6), (3.0, 4.0), (1.0, 0.7), (1e-3, 0.5)):
        for which in Which:
            around = [incomplete_gamma(np.array([a * f]), np.array([x * f]), which)[0] for f in (1 - 1e-12, 1 + 1e-12)]
            assert around[0] == pytest.approx(around[1], rel=3e-11)


def test_its_derivatives_are_those_of_autograd():
    a, x = (torch.tensor(TABLE[4:10, k], requires_grad=True) for k in (0, 1))
    for function, sign in ((gammainc, 1.0), (gammaincc, -1.0)):
        by_shape, by_point = torch.autograd.grad(function(a, x).sum(), (a, x))
        np.testing.assert_allclose(by_shape, sign * TABLE[4:10, 4], rtol=1e-12)
        np.testing.assert_allclose(by_point, sign * TABLE[4:10, 5], rtol=1e-12)


def test_arguments_are_broadcast_and_batched():
    a, x = torch.tensor([[0.5], [3.0]], dtype=D, requires_grad=True), torch.tensor([0.1, 4.0, 2.0], dtype=D)
    (slope,) = torch.autograd.grad(gammainc(a, x).sum(), a)
    wanted = incomplete_gamma(np.repeat([0.5, 3.0], 3), np.tile(x.numpy(), 2), Which.BY_SHAPE).reshape(2, 3).sum(1)
    np.testing.assert_allclose(slope[:, 0], wanted)
    batched = torch.vmap(lambda a, x: INCOMPLETE.operator(a, x, 0), in_dims=(0, None))(a.detach().expand(2, 3), x)
    np.testing.assert_allclose(batched, gammainc(a, x).detach())


def test_torchs_function_is_it_in_double_precision_alone():
    a = torch.tensor(2.0, requires_grad=True)
    with in_double():
        found = torch.special.gammaincc(a, torch.tensor(1.0))
        assert dist.Gamma(a, 2.0).cdf(torch.tensor(0.5)).dtype is D
    assert torch.autograd.grad(found, a)[0].item() == pytest.approx(0.276196046, abs=3e-8)  # in single precision
    with pytest.raises(NotImplementedError):
        torch.autograd.grad(torch.special.gammaincc(a, torch.tensor(1.0)), a)


TIMES, SEEN = np.array([1.0, 2.0, 0.5, 3.0, 9.0]), np.array([True, False, True, False, False])


def censored(times, seen):
    """Times that follow a Gamma distribution, some of which had not come yet."""
    a, b = su.sample("a", dist.Gamma(2.0, 1.0)), su.sample("b", dist.Gamma(2.0, 1.0))
    with su.plate("patient", len(times)):
        late = torch.special.gammaincc(a, b * times).log()
        su.factor("time", torch.where(seen, dist.Gamma(a, b).log_prob(times), late))


def by_scipy(q):
    """The log density at unconstrained a and b, (..., 2)."""
    a, b = np.exp(q)[..., 0, None], np.exp(q)[..., 1, None]
    times = stats.gamma(a, scale=1 / b)
    prior = stats.gamma.logpdf(np.exp(q), 2).sum(-1) + q.sum(-1)
    return prior + np.where(SEEN, times.logpdf(TIMES), times.logsf(TIMES)).sum(-1)


def test_censored_times_have_their_density_in_c():
    density = compiled(censored, torch.tensor(TIMES), torch.tensor(SEEN))
    for q in (np.array([0.3, -0.2]), np.array([1.5, 1.0]), np.array([-2.0, 0.5])):
        value, gradient = density.value_and_grad(q)
        assert value == pytest.approx(by_scipy(q), rel=1e-11)
        # Differences of the fourth order: 1e-12 in steps of 1e-3, and SciPy's rounding, 1e-14, divided by the step.
        h = 1e-3 * np.eye(2)
        slopes = [(by_scipy(q - 2 * d) - 8 * by_scipy(q - d) + 8 * by_scipy(q + d) - by_scipy(q + 2 * d)) / 12e-3 for d in h]
        np.testing.assert_allclose(gradient, slopes, rtol=1e-9, atol=1e-9)


def test_censored_times_are_sampled_in_c():
    run = su.infer.MCMC(su.infer.NUTS(censored), num_warmup=400, num_samples=1000, num_chains=2, seed=0, progress=False)
    draws = run.run(torch.tensor(TIMES), torch.tensor(SEEN))
    q = np.linspace(-4.0, 4.0, 161)
    logs = by_scipy(np.stack(np.meshgrid(q, q, indexing="ij"), axis=-1))
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    a, b = np.exp(q)[:, None], np.exp(q)[None, :]
    for name, values in (("a", a), ("b", b)):
        mean = (weights * values).sum()
        deviation = np.sqrt((weights * (values - mean) ** 2).sum())
        found = draws[name].numpy().mean()
        assert abs(found - mean) < 4.5 * deviation / np.sqrt(400)  # of 2,000 draws, at least 400 independent ones
