"""The normal distribution function's logarithm and its derivatives: against mpmath from −10³⁰⁰ on, in torch and in C."""

import math

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.common.precision import in_double
from sursum.common.special.normal_cdf import INVERSE_MILLS, MillsWhich, _mills, inverse_mills, log_ndtr, scaled_erfc
from sursum.distributions.tails import log_ndtri, log_tails, log_tilted

D = torch.float64

#: x, λ(x) = φ(x)/Φ(x), x + λ, 1 − λ(x + λ)
ROWS = np.array([
    (-1e300, 1e300, 1e-300, 0.0), (-1e150, 1e150, 1e-150, 1e-300),
    (-1e8, 100000000.00000001, 9.999999999999998e-9, 9.999999999999994e-17),
    (-1e3, 1000.000999998, 0.00099999800000999993, 9.9999400004999948e-7),
    (-40.0, 40.024968847207264, 0.024968847207263723, 0.00062266837859138877),
    (-5.0, 5.1865039671258421, 0.18650396712584212, 0.032696434617112225),
    (-4.25, 4.4644731692662007, 0.21447316926620065, 0.042490290283558877),
    (-4.0, 4.2256071444894711, 0.22560714448947107, 0.046672838397422631),
    (-3.0, 3.2830986549304365, 0.28309865493043651, 0.070559186785268117),
    (-1.0, 1.5251352761609812, 0.52513527616098121, 0.19909766557034879),
    (-1e-8, 0.79788456716906309, 0.79788455716906309, 0.36338022545228252),
    (0.0, 0.79788456080286536, 0.79788456080286536, 0.36338022763241866),
    (0.5, 0.50916043383703349, 1.0091604338370335, 0.4861754356963671),
    (3.0, 0.0044378390421256638, 3.0044378390421257, 0.98666678845825919),
    (20.0, 5.5209483621597632e-88, 20.0, 1.0), (37.0, 2.1200065515246056e-298, 37.0, 1.0),
])  # fmt: skip
#: Where λ is not too small to have a logarithm that matters.
LEFT = ROWS[ROWS[:, 0] <= 0]


def points(rows=ROWS):
    return torch.tensor(rows[:, 0], requires_grad=True)


@pytest.mark.parametrize("which", range(3))
def test_the_operator_is_that_of_mpmath(which):
    found = INVERSE_MILLS.operator(points().detach(), which)
    np.testing.assert_allclose(found, ROWS[:, 1 + which], rtol=1e-12, atol=1e-310)


def test_in_a_density_in_c_gradients_are_the_same():
    given = {"cdf": ROWS[1:], "ratio": LEFT, "excess": ROWS[1:]}  # the square of 10³⁰⁰ is no double

    def program():
        x = {name: su.sample(name, dist.ImproperUniform(dist.constraints.real, (), (len(v),))) for name, v in given.items()}
        su.factor("cdf of x", torch.special.log_ndtr(x["cdf"]).sum())  # torch's, which is ours in a density
        su.factor("ratio of x", inverse_mills(x["ratio"]).log().sum())
        su.factor("excess of x", _mills(MillsWhich.EXCESS, x["excess"]).sum())

    gradient = su.compile(program, engine="native").value_and_grad(np.concatenate([v[:, 0] for v in given.values()]))[1]
    wanted = np.concatenate([ROWS[1:, 1], -LEFT[:, 2], ROWS[1:, 3]])
    np.testing.assert_allclose(gradient, wanted, rtol=1e-12, atol=1e-310)


def test_second_and_third_derivatives_are_products():
    x = points()
    (first,) = torch.autograd.grad(log_ndtr(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    (third,) = torch.autograd.grad(second.sum(), x)
    ratio, excess, variance = ROWS.T[1:]
    np.testing.assert_allclose(second.detach(), -ratio * excess, rtol=1e-12, atol=1e-310)
    near = np.abs(ROWS[:, 0]) < 10  # further out it is a difference
    np.testing.assert_allclose(third[near], (ratio * (excess**2 - variance))[near], rtol=1e-10)
    (slope,) = torch.autograd.grad(inverse_mills(x).log()[ROWS[:, 0] <= 0].sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    np.testing.assert_allclose(slope.detach()[: len(LEFT)], -LEFT[:, 2], rtol=1e-12)
    np.testing.assert_allclose(curvature[: len(LEFT)], -LEFT[:, 3], rtol=1e-11, atol=1e-310)
    assert torch.autograd.gradcheck(
        lambda x: _mills(MillsWhich.EXCESS, x), torch.tensor([-6.0, -1.0, 2.0], dtype=D, requires_grad=True)
    )


def test_the_scaled_function_of_errors_has_its_slope_far_out():
    x = points(LEFT).detach().mul(-math.sqrt(0.5)).requires_grad_()  # erfcx(x) = √(2/π) / λ(−√2 x)
    found = scaled_erfc(x)
    np.testing.assert_allclose(found.detach(), math.sqrt(2 / math.pi) / LEFT[:, 1], rtol=1e-12)
    (slope,) = torch.autograd.grad(found.log().sum(), x)
    np.testing.assert_allclose(slope, -math.sqrt(2.0) * LEFT[:, 2], rtol=1e-12)


def test_at_infinity_it_has_its_limits():
    x = torch.tensor([-torch.inf, torch.inf, torch.nan], dtype=D)
    wanted = [[torch.inf, 0.0, torch.nan], [0.0, torch.inf, torch.nan], [0.0, 1.0, torch.nan]]
    for which in range(3):
        np.testing.assert_array_equal(INVERSE_MILLS.operator(x, which), wanted[which])


def test_in_double_precision_torchs_functions_are_these():
    x = torch.tensor([-1e8, 0.5], requires_grad=True)
    with in_double():
        found = torch.special.log_ndtr(input=x) + torch.special.erfcx(-x)[1].log()
    (slope,) = torch.autograd.grad(found[0], x)
    np.testing.assert_allclose(slope, [1e8, 1.57795636], rtol=1e-6)
    assert log_ndtr(x).dtype is torch.float32
    assert torch.vmap(torch.func.grad(log_ndtr))(x.detach().double())[0] == 1e8  # without torch's warning of a missing rule


#: z, r, log ∫ φ(z − t) exp(−r t) dt over t > 0, and its derivatives
TILTED = [
    (1.0, 2.0, -1.8410216450092636, -0.4748647238390187, -0.5251352761609813),
    (-1e8, 1e-3, -5000000000000019.3396, 100000000.00000001, -9.999999999899998e-9),
    (1.0, 1e8, -19.839619267157038, -0.99999999, -1.0000000099999999e-8),
    (1e8, 1e9, -5000000000000021.5368, -1e8 + 1.1111111e-9, -1.1111111111111111e-9),
    (3.0, 1e150, -350.80670248231154, -3.0, -1e-150),
    (2.0, 1e300, -693.69446643141847, -2.0, -1e-300),
    (100.0, 1e-8, -9.9999999995e-7, -1e-8, -99.99999999),
]


def test_a_normal_number_and_an_exponential_one_keep_their_digits_in_every_tail():
    given = torch.tensor(TILTED, dtype=D)
    z, r = given[:, 0].clone().requires_grad_(), given[:, 1].clone().requires_grad_()
    found = log_tilted(z, r)
    np.testing.assert_allclose(found.detach(), given[:, 2], rtol=1e-12)
    for slope, wanted in zip(torch.autograd.grad(found.sum(), (z, r)), (given[:, 3], given[:, 4]), strict=True):
        np.testing.assert_allclose(slope, wanted, rtol=1e-12)


def test_an_inverse_gaussian_keeps_its_digits_where_the_concentration_is_large():
    below, above = log_tails(
        dist.InverseGaussian(*torch.tensor([1.0, 1e12], dtype=D)), torch.tensor([1 - 1e-6, 1 + 1e-6], dtype=D)
    )
    # Nearly normal, with a spread of 10⁻⁶; the numbers are mpmath's.
    np.testing.assert_allclose(below, [-1.8410216450538824, -0.17275377904696595], rtol=1e-10)
    np.testing.assert_allclose(above, [-0.17275377901503595, -1.8410216448845584], rtol=1e-10)


def test_quantiles_of_tiny_probabilities_are_found():
    p = torch.tensor([-1e4, -1e12, -1e18], dtype=D)
    np.testing.assert_allclose(log_ndtr(log_ndtri(p)), p, rtol=1e-12)
