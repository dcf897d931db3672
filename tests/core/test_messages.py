"""Messages are values, and know their log density."""

import dataclasses
import pickle

import pytest
import torch
import torch.distributions as td
from hypothesis import given, settings
from hypothesis import strategies as st

import sursum as su
import sursum.distributions as dist
from sursum.core.messages import Deterministic, Factor, Frame, Param, Sample, Step
from sursum.errors import DensityError, SiteError

NAN = float("nan")


def observed(fn, value, **fields):
    return Sample(name="y", fn=fn, value=value, is_observed=True, **fields)


def normal_log_prob(x, loc, scale):
    return -0.5 * ((x - loc) / scale) ** 2 - torch.log(torch.as_tensor(scale)) - 0.5 * torch.log(torch.tensor(2 * torch.pi))


def test_messages_cannot_be_written_into():
    site = Sample(name="z", fn=dist.Normal(0.0, 1.0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        site.value = torch.tensor(1.0)
    changed = site.but(value=torch.tensor(1.0))
    assert site.value is None
    assert changed.value == 1
    assert changed.fn is site.fn


@pytest.mark.parametrize(
    ("site", "kind"),
    [
        (Sample(name="x", fn=dist.Normal(0.0, 1.0)), "sample"),
        (Param(name="x"), "param"),
        (Deterministic(name="x"), "deterministic"),
        (Factor(name="x"), "factor"),
    ],
)
def test_a_message_can_be_read_like_a_mapping(site, kind):
    assert (site.type, site["type"], site["name"]) == (kind, kind, "x")
    # The fields that readers of message mappings expect are there for all kinds.
    for key in ("fn", "value", "is_observed", "scale", "mask", "infer", "plates"):
        assert key in site
        assert site.get(key, "absent") != "absent"
    assert set(site) >= {"type", "name", "value", "is_observed"}
    assert "colour" not in site
    assert site.get("colour", 3) == 3
    with pytest.raises(KeyError):
        site["colour"]


def test_messages_compare_by_identity():
    one, two = (Sample(name="x", fn=dist.Normal(0.0, 1.0), value=torch.zeros(3)) for _ in range(2))
    assert one == one
    assert one != two
    assert len({one, two}) == 2


def test_frames():
    whole, part, none = Frame("a", -1, 10), Frame("a", -1, 10, torch.tensor([1, 2])), Frame("a", -1, 0)
    assert (whole.length, whole.scale) == (10, 1.0)
    assert (part.length, part.scale) == (2, 5.0)
    assert (none.length, none.scale) == (0, 1.0)


def test_a_parameter_without_a_value_says_where():
    with pytest.raises(SiteError, match=r"parameter 'w' \(prog.py:3\) has no value.*Write param\('w', init\)"):
        Param(name="w", where="prog.py:3").run()


def test_a_lazy_initial_value_is_made_once_a_run():
    calls = []
    site = Param(name="w", initial=lambda: calls.append(1) or torch.tensor(2.0)).run()
    assert float(site.value) == 2
    assert len(calls) == 1
    assert site.run() is site


def test_a_draw_is_differentiable_where_it_can_be():
    loc = torch.tensor(1.0, requires_grad=True)
    assert Sample(name="z", fn=dist.Normal(loc, 1.0)).run().value.requires_grad
    assert not Sample(name="z", fn=dist.Poisson(loc)).run().value.requires_grad


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.1, 4), st.floats(0, 5))
def test_log_density_by_hand(x, loc, scale, factor):
    site = observed(dist.Normal(loc, scale), torch.tensor(x), scale=factor)
    assert torch.allclose(site.log_prob(), factor * normal_log_prob(torch.tensor(x), loc, scale), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mask", [False, torch.tensor(False), torch.tensor([False, False]), torch.tensor([True, False])])
def test_missing_data_reach_neither_value_nor_gradient(mask):
    loc = torch.tensor([0.5, 0.5], requires_grad=True)
    site = observed(dist.Normal(loc, 1.0), torch.tensor([2.0, NAN]), mask=mask)
    total = site.log_prob().sum()
    total.backward()
    counted = bool(torch.as_tensor(mask).any())
    expected = normal_log_prob(torch.tensor(2.0), 0.5, 1.0) if counted else torch.tensor(0.0)
    assert torch.allclose(total, expected)
    assert loc.grad.tolist() == [1.5 if counted else 0.0, 0.0]


def test_a_mask_may_be_wider_than_the_value():
    site = observed(
        dist.Normal(torch.zeros(3, 2), 1.0), torch.tensor([1.0, NAN]), mask=torch.tensor([[True, False]] * 2 + [[False] * 2])
    )
    expected = normal_log_prob(torch.tensor(1.0), 0.0, 1.0)
    assert torch.allclose(site.log_prob(), expected * torch.tensor([[1.0, 0], [1, 0], [0, 0]]))


@pytest.mark.parametrize(
    ("fn", "value"),
    [
        (dist.Categorical(logits=torch.zeros(2, 3)), torch.tensor([2, -1])),
        (dist.Categorical(logits=torch.zeros(2, 3)), torch.tensor([2, 99])),
        (dist.Poisson(torch.ones(2)), torch.tensor([3, -9])),
        (dist.Gamma(torch.ones(2), 1.0), torch.tensor([3.0, -999.0])),
        (dist.Dirichlet(torch.ones(2, 3)), torch.tensor([[0.2, 0.3, 0.5], [NAN, NAN, NAN]])),
        (dist.MultivariateNormal(torch.zeros(2, 2), torch.eye(2)), torch.tensor([[0.2, 0.3], [NAN, 0.0]])),
        (dist.OneHotCategorical(logits=torch.zeros(2, 3)), torch.tensor([[0.0, 1, 0], [7, 7, 7]])),
    ],
    ids=lambda x: type(x).__name__,
)
def test_codes_for_missing_data_are_never_looked_at(fn, value):
    for parameter in ("logits", "rate", "concentration", "loc"):
        if isinstance(vars(fn).get(parameter), torch.Tensor):
            vars(fn)[parameter].requires_grad_()
            leaf = vars(fn)[parameter]
    log_prob = observed(fn, value, mask=torch.tensor([True, False])).log_prob()
    present = fn.log_prob(value[[0, 0]])[0]
    assert torch.allclose(log_prob, torch.stack([present, torch.zeros(())]))
    if log_prob.requires_grad:
        (gradient,) = torch.autograd.grad(log_prob.sum(), leaf)
        assert torch.isfinite(gradient).all()
    assert observed(fn, value, mask=False).log_prob().tolist() == [0.0, 0.0]


def test_booleans_can_be_observed():
    site = observed(dist.Bernoulli(torch.tensor(0.25)), torch.tensor([True, False]))
    assert torch.allclose(site.log_prob().exp(), torch.tensor([0.25, 0.75]))
    assert site.value.dtype == torch.bool


def test_a_function_cannot_be_scored():
    with pytest.raises(DensityError, match=r"site 's' \(prog.py:1\) cannot be scored.*Return a Distribution"):
        Sample(name="s", fn=lambda: torch.tensor(1.0), value=torch.tensor(1.0), where="prog.py:1").log_prob()


def test_a_factor_is_scaled_and_masked():
    value = torch.tensor([1.0, NAN, 3.0])
    site = Factor(name="f", value=value, scale=2.0, mask=torch.tensor([True, False, True]))
    assert site.log_prob().tolist() == [2.0, 0.0, 6.0]
    assert site.is_observed


def test_messages_can_be_pickled():
    model = su.poutine.seed(lambda: su.sample("z", dist.Normal(torch.zeros(2), 1.0)), rng_seed=1)
    site = su.poutine.trace(model).get_trace()["z"]
    again = pickle.loads(pickle.dumps(site))
    assert torch.equal(again.value, site.value)
    assert torch.equal(again.log_prob(), site.log_prob())


def test_frames_are_equal_where_they_have_the_same_indices():
    indices = torch.tensor([2, 0])
    one = Frame("data", -1, 4, indices)
    assert one == Frame("data", -1, 4, indices)
    assert hash(one) == hash(Frame("data", -1, 4, indices))
    assert one != Frame("data", -1, 4, indices.clone())
    assert one != Frame("data", -2, 4, indices)
    assert (one,) == (Frame("data", -1, 4, indices),)
    assert Frame("data", -1, 4) != Step("data", -1, 4)


@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (dist.TransformedDistribution(dist.StudentT(3.0), dist.transforms.AbsTransform()), "AbsTransform.*HalfStudentT"),
        (
            dist.TransformedDistribution(dist.Normal(torch.zeros(3), 1.0), dist.transforms.SoftmaxTransform()),
            "SoftmaxTransform.*not one-to-one.*in the program",
        ),
        (td.Distribution(validate_args=False), "Distribution does not compute one.*`log_prob`"),
    ],
)
def test_a_distribution_without_a_density_says_which_site_and_why(fn: td.Distribution, said: str) -> None:
    site = Sample(name="s", fn=fn, value=torch.ones(3) / 3, where="program.py:7")
    with pytest.raises(DensityError, match=rf"'s' \(program.py:7\) has no density: .*{said}"):
        site.log_prob()


class Cubed(td.Transform):
    """Of which one method is missing."""

    domain = codomain = td.constraints.real
    bijective, sign = True, 1

    def _call(self, x):
        return x**3


class CubedBack(Cubed):
    def _inverse(self, y):
        return y.sign() * y.abs() ** (1 / 3)


@pytest.mark.parametrize(
    ("transforms", "said"),
    [
        ([td.AbsTransform()], "AbsTransform.*is not one-to-one.*write `dist.FoldedDistribution"),
        ([td.ExpTransform(), td.SoftmaxTransform()], "SoftmaxTransform.*is not one-to-one.*transform the value in the program"),
        ([td.ComposeTransform([td.ExpTransform(), td.AbsTransform()])], "AbsTransform.*is not one-to-one"),
        (
            [td.ExpTransform(), Cubed()],
            "Cubed, by which its TransformedDistribution.*has no inverse. Write its `_inverse`",
        ),
        ([CubedBack()], "CubedBack.*has no log-Jacobian. Write its `log_abs_det_jacobian`"),
        ([CubedBack().inv], "CubedBack.*has no log-Jacobian"),
        ([td.IndependentTransform(CubedBack(), 1)], "CubedBack.*has no log-Jacobian"),
    ],
)
@pytest.mark.parametrize("latent", [True, False])
def test_a_transform_without_a_density_is_named_with_its_site(transforms, said, latent):
    """In a distribution that is drawn, that is observed, and that is a prior from outside."""
    value = torch.tensor([0.2, 0.3, 0.5])
    fn = dist.TransformedDistribution(dist.Normal(torch.zeros(3), 1.0).to_event(1), transforms)

    def program():
        x = su.sample("x", fn if latent else dist.Normal(torch.zeros(3), 1.0).to_event(1))
        su.sample("y", dist.Normal(x, 1.0).to_event(1) if latent else fn, obs=value)

    name = "x" if latent else "y"
    with pytest.raises(DensityError, match=rf"site '{name}' \(test_messages.py:\d+\) has no density: {said}"):
        su.compile(program)


def test_a_prior_from_outside_without_a_density_is_named_with_its_parameter():
    def program():
        s = su.param("s", torch.tensor(1.0), constraint=dist.constraints.positive)
        su.sample("y", dist.Normal(0.0, s), obs=torch.tensor(0.3))

    half = dist.TransformedDistribution(dist.StudentT(3.0, 0.0, 2.0), td.AbsTransform())
    with pytest.raises(DensityError, match=r"site 's' \(test_messages.py:\d+\) has no density: AbsTransform"):
        su.compile(su.lift(program, {"s": half}))
