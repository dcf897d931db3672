"""A program that takes another way than the captured one is refused; rounding, however much, is no other way."""

import contextlib
import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.capture import Capture
from sursum.compiler.check.points import far_points
from sursum.errors import BranchError, CaptureError, EscapeError, SursumError

DOUBLE = {"dtype": torch.float64}


def value_at(model: Callable[..., Any], q: list[float], *args: Any) -> tuple[float, float]:
    """The log density by the program itself, and compiled."""
    point = torch.tensor(q, **DOUBLE)
    return float(su.infer.LogDensity(model, args)(point)), su.compile(model, *args, engine="torch").value_and_grad(q)[0]


def normal(name: str = "b") -> Tensor:
    return su.sample(name, dist.Normal(torch.zeros((), **DOUBLE), 3.0))


# Branches that no operator shows ----------------------------------------------------------------------------------------


def test_a_hundred_nats_among_thousands_are_a_branch() -> None:
    y = torch.linspace(0.0, 4.0, 2000)

    def model() -> None:
        b = su.sample("b", dist.Normal(0.0, 3.0))
        with su.plate("d", len(y)):
            su.sample("y", dist.Normal(b, 1.0), obs=y)
        weight = 1.0 if b.detach().numpy() > 1.0 else 3.0
        su.factor("penalty", -weight * (b - 1.0).abs())

    with pytest.raises(EscapeError, match="the program is a different function"):
        su.compile(model, engine="torch")


def test_a_captured_value_that_is_not_finite_is_a_branch_where_the_program_is_finite() -> None:
    def model() -> None:
        a = normal("a") + 1.0
        su.factor("f", torch.log(a) if a.detach().numpy() > 0 else -(a**2))

    with pytest.raises(EscapeError):
        su.compile(su.poutine.reparam(model, {}), engine="torch")


@pytest.mark.parametrize(
    "choose",
    [
        lambda b: {True: 1.0, False: 2.0}[bool(np.sign(b.detach().numpy()) > -0.5)],
        lambda b: max(1.0, b.tolist() - 5.0),
        lambda b: 1.0 if np.asarray(b.detach()) < 6.0 else 2.0,
        lambda b: len([x for x in range(20) if x < b.tolist() - 4.0]) + 1.0,
        lambda b: [1.0, 2.0][int(b.detach().numpy() < -6.0)],
    ],
)
def test_choices_by_numbers_that_left_torch_are_found_far_out(choose: Callable[[Tensor], float]) -> None:
    def model() -> None:
        b = normal()
        su.factor("f", -choose(b) * b**2)

    with pytest.raises(EscapeError):
        su.compile(model, engine="torch")


def test_a_branch_with_the_same_value_and_another_gradient_is_found() -> None:
    def model() -> None:
        b = normal()
        su.factor("f", b * 0.0 if b.detach().numpy() < 4.0 else b.detach() * 0.0 + (b - b.detach()))

    with pytest.raises(EscapeError):
        su.compile(model, engine="torch")


def test_a_program_that_fails_elsewhere_unseen_is_another_one() -> None:
    def model() -> None:
        b = normal()
        if b.detach().numpy() < -1.0:
            raise ValueError("never below")
        su.factor("f", -(b**2))

    with pytest.raises(EscapeError, match="never below"):
        su.compile(model, engine="torch")


def test_looking_without_choosing_is_allowed() -> None:
    seen = []

    def model() -> None:
        b = normal()
        seen.append(b.tolist())
        su.factor("f", -(b**2))

    program, found = value_at(model, [1.5])
    assert found == pytest.approx(program, abs=1e-12)
    assert len(seen) > 2


# Errors that are caught, and warnings -----------------------------------------------------------------------------------


def matrix(r: Tensor) -> Tensor:
    one = torch.ones((), **DOUBLE)
    return torch.stack([torch.stack([one, r]), torch.stack([r, one])])


def tried(r: Tensor) -> Tensor:
    try:
        return torch.linalg.cholesky(matrix(r))
    except torch.linalg.LinAlgError:
        return torch.linalg.cholesky(matrix(r) @ matrix(r) + 0.1 * torch.eye(2, **DOUBLE))


def tried_for_another_reason(r: Tensor) -> Tensor:
    for k in itertools.count():
        with su.plate(f"p{k}", 1), contextlib.suppress(RuntimeError):
            return torch.linalg.cholesky(matrix(r) + 10.0**k * torch.eye(2, **DOUBLE))
    raise AssertionError


def outer(r: Tensor) -> Tensor:
    def inner() -> Tensor:
        return torch.linalg.cholesky(matrix(r))

    try:
        with su.plate("p", 1):
            return inner()
    except Exception:
        return torch.eye(2, **DOUBLE) * r.exp()


@pytest.mark.parametrize("factor", [tried, tried_for_another_reason, outer])
def test_a_factorisation_that_is_tried_is_a_branch(factor: Callable[[Tensor], Tensor]) -> None:
    def model() -> None:
        r = 1e-3 * normal()  # never near a matrix that has no factor
        su.sample("y", dist.MultivariateNormal(torch.zeros(2, **DOUBLE), scale_tril=factor(r)), obs=torch.ones(2, **DOUBLE))

    with pytest.raises(BranchError, match=r"went on another way.*test_faithful\.py.*jitter"):
        su.compile(model, engine="torch")


def test_an_error_of_a_distribution_that_is_caught_is_a_branch() -> None:
    def model() -> None:
        s = normal() * 1e-3 + 1.0
        try:
            y = dist.Normal(0.0, s)
        except ValueError:
            y = dist.Normal(0.0, 1.0)
        su.sample("y", y, obs=torch.ones((), **DOUBLE))

    with pytest.raises(BranchError, match="went on another way"):
        su.compile(model, engine="torch")


def test_a_try_that_ends_in_another_error_is_a_check() -> None:
    def model() -> None:
        r = normal()
        try:
            factor = torch.linalg.cholesky(matrix(r / 4))
        except torch.linalg.LinAlgError as error:
            raise ValueError("no factor") from error
        finally:
            seen.append(1)
        su.sample("y", dist.MultivariateNormal(torch.zeros(2, **DOUBLE), scale_tril=factor), obs=torch.ones(2, **DOUBLE))

    seen: list[int] = []
    program, found = value_at(model, [2.0])
    assert found == pytest.approx(program, abs=1e-12)
    assert su.compile(model, engine="torch").value_and_grad([8.0])[0] == -np.inf


def test_a_look_of_the_program_itself_at_a_check_is_a_branch() -> None:
    def model() -> None:
        b = normal()
        su.factor("f", -(b**2) if torch._is_all_true(b < 1e6) else b.abs())

    with pytest.raises(BranchError, match="went on another way"):
        su.compile(model, engine="torch")


def test_a_check_that_warns_alone_is_no_guard() -> None:
    """Wishart is defined for more than p − 1 degrees of freedom, and torch warns of fewer than p."""
    observed = torch.tensor([[2.0, 0.3], [0.3, 1.0]], **DOUBLE)

    def model() -> None:
        df = 1.0 + normal().exp()
        su.sample("w", dist.Wishart(df, torch.eye(2, **DOUBLE)), obs=observed)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for q in (-0.7, 1.2):
            program, found = value_at(model, [q])
            assert found == pytest.approx(program, abs=1e-10)
            df = 1.0 + math.exp(q)
            trace, logdet = 3.0, math.log(2.0 - 0.09)
            log_gamma = 0.5 * math.log(math.pi) + math.lgamma(df / 2) + math.lgamma((df - 1) / 2)
            wishart = (df - 3) / 2 * logdet - trace / 2 - df * math.log(2.0) - log_gamma
            prior = -0.5 * (q / 3) ** 2 - math.log(3.0) - 0.5 * math.log(2 * math.pi)
            assert found == pytest.approx(wishart + prior, abs=1e-10)


# No false alarms --------------------------------------------------------------------------------------------------------


def cancelled() -> None:
    """Single precision loses all digits of it but two."""
    b = su.sample("b", dist.Normal(0.0, 1.0))
    su.factor("f", ((b + 3e4) ** 2 - 9e8 - 6e4 * b) * 1e-2)


def singular() -> None:
    x = torch.linspace(0, 1, 12)
    s = su.sample("s", dist.LogNormal(0.0, 1.0))
    cov = torch.exp(-((x[:, None] - x) ** 2) / (2 * s**2)) + 1e-5 * torch.eye(12)
    su.sample("y", dist.MultivariateNormal(torch.zeros(12), cov), obs=torch.sin(6 * x))


def many_ties() -> None:
    b = su.sample("b", dist.Normal(torch.zeros(50), 1.0).to_event(1))
    su.factor("f", -((b.round().sort().values.max() - b.abs().max()) ** 2))


def large_sums() -> None:
    b = su.sample("b", dist.Normal(0.0, 1.0))
    with su.plate("d", 20_000):
        su.sample("y", dist.Normal(b, 0.01), obs=torch.linspace(-3, 3, 20_000))


def overflow() -> None:
    b = su.sample("b", dist.Normal(0.0, 1.0))
    su.factor("f", -(30 * b).exp() * 1e-9)


@pytest.mark.parametrize("model", [cancelled, singular, many_ties, large_sums, overflow])
@pytest.mark.parametrize("looks", [False, True])
def test_rounding_is_no_branch(model: Callable[[], None], looks: bool) -> None:
    def program() -> None:
        model()
        if looks:  # then many more points are compared
            torch.zeros(1).tolist()

    assert su.compile(program, engine="torch").engine == "torch"


# Programs that Python runs ----------------------------------------------------------------------------------------------


def spectrum(v: Tensor) -> Tensor:
    return torch.fft.rfft(v).abs().sum()


def latent() -> Tensor:
    return su.sample("v", dist.Normal(torch.zeros(4), 1.0).to_event(1))


def test_what_cannot_be_captured_may_not_draw_either() -> None:
    def model() -> None:
        su.factor("f", -((spectrum(latent()) + torch.randn(())) ** 2))

    with pytest.raises(CaptureError, match="draws at random.*randn"):
        su.compile(model)


def test_what_cannot_be_captured_may_not_write_outside_either() -> None:
    buffer = torch.zeros(4)

    def model() -> None:
        v = latent()
        power = spectrum(v)
        with torch.no_grad():
            buffer.add_(v)
        su.factor("f", -power - buffer.sum())

    with pytest.raises(CaptureError, match="made outside of the program"):
        su.compile(model)


def test_what_cannot_be_captured_may_not_count_either() -> None:
    count = itertools.count()

    def model() -> None:
        su.factor("f", -spectrum(latent()) * next(count))

    with pytest.raises(SursumError, match="twice at one point"):
        su.compile(model)


def test_a_program_that_python_runs_may_write_into_what_it_made() -> None:
    def model() -> None:
        v = latent()
        out = torch.zeros(5)
        out[:3] = torch.fft.rfft(v).abs()
        out[3:] += 1.0
        su.factor("f", -out.sum())

    with pytest.warns(su.errors.EngineWarning, match="run by Python"):
        assert su.compile(model).engine == "eager"


# How often the program is run -------------------------------------------------------------------------------------------


class Halved(torch.autograd.Function):
    """-x², whose slope is that of it near 0, and half of that beyond; nothing but Python's backward shows it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return -(x**2)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return -2.0 * x * slope * (1.0 if abs(x.detach().numpy()) < 3.0 else 0.5)


def test_another_way_of_a_backward_of_python_is_found_far_out() -> None:
    def model() -> None:
        su.factor("f", Halved.apply(2.0 * normal()))

    with pytest.raises(EscapeError, match="two graphs"):
        su.compile(model, engine="torch")


def test_another_way_of_a_hook_is_found_far_out() -> None:
    def model() -> None:
        b = normal() * 1.0
        at = b.detach()
        if b.requires_grad:
            b.register_hook(lambda slope: slope * 2.0 if at.numpy() > 3.0 else slope)
        su.factor("f", -(b**2))

    with pytest.raises(EscapeError, match="gradient"):
        su.compile(model, engine="torch")


def test_another_way_of_a_distribution_that_is_scored_is_found_far_out() -> None:
    class Switched(dist.Normal):
        def log_prob(self, value: Tensor) -> Tensor:
            return super().log_prob(value) * (2.0 if value.detach().numpy() > 5.0 else 1.0)

    def model() -> None:
        su.sample("b", Switched(torch.zeros((), **DOUBLE), 3.0))

    with pytest.raises(EscapeError):
        su.compile(model, engine="torch")


def test_a_program_whose_numbers_stay_in_torch_is_run_four_times() -> None:
    """To find its sites, at the two points of the capture, of which one is away from the start, and once far out."""
    runs = itertools.count()

    def model() -> None:
        next(runs)
        su.factor("f", -(normal() ** 2))

    compiled = su.compile(model, engine="torch")
    assert next(runs) == 4
    one, other = compiled.points
    assert torch.equal(other, far_points(one)[0])


def test_the_second_recording_is_near_where_the_program_fails_away_from_the_start() -> None:
    runs = itertools.count()

    def model() -> None:
        z = normal("z")
        run = next(runs)
        if run == 2:
            raise torch.linalg.LinAlgError("not there")
        su.factor("f", -(z**2))

    compiled = su.compile(model, engine="torch")
    assert next(runs) == 6  # sites, near, away in vain, near again, away again, farthest out
    away = far_points(compiled.points[0])[0]
    assert not torch.equal(compiled.points[1], away)
    assert compiled.value_and_grad([0.5])[0] == pytest.approx(float(su.infer.LogDensity(model)(torch.tensor([0.5], **DOUBLE))))


def test_an_error_that_is_caught_away_from_the_start_is_found_there() -> None:
    def model() -> None:
        z = normal("z")
        try:
            su.factor("root", torch.linalg.cholesky((z + 1.0) * torch.ones(1, 1, **DOUBLE)).log().sum())
        except torch.linalg.LinAlgError:
            su.factor("root", torch.zeros((), **DOUBLE))

    with pytest.raises(CaptureError):
        su.compile(model, engine="torch")


def test_a_count_in_the_program_is_found_by_its_second_recording() -> None:
    runs = itertools.count()

    def model() -> None:
        su.factor("f", -(normal("z") ** 2) * (1.0 + 1e-13 * next(runs)))

    with pytest.raises(EscapeError, match=r"two graphs .*mul"):
        su.compile(model, engine="torch")


def test_a_count_that_only_a_site_shows_is_found_by_its_second_recording() -> None:
    runs = itertools.count()

    def model() -> None:
        su.deterministic("counted", normal("z") * (1.0 + 1e-13 * next(runs)))

    with pytest.raises(EscapeError, match=r"two graphs .*mul"):
        su.compile(model, engine="torch")


def groups() -> None:
    b = su.sample("b", dist.Normal(torch.zeros(4, **DOUBLE), 1.0).to_event(1))
    weights = su.deterministic("weights", torch.softmax(b, 0).expand(3, 4))
    x = torch.linspace(-1.0, 2.0, 24, **DOUBLE).reshape(6, 4)
    mean = x @ b + b[torch.tensor([0, 1, 2, 3, 0, 1])] * weights[1, 0]
    su.sample("y", dist.StudentT(3.0, mean, b[0].exp()).to_event(1), obs=torch.arange(6, **DOUBLE))


def walk() -> None:
    last, _ = su.scan(lambda x, y: (0.5 * x + y, x), normal("z"), torch.ones(5, **DOUBLE))
    su.factor("f", -(last**2))


@pytest.mark.parametrize(
    ("model", "recordings"),
    [
        (lambda: su.factor("f", -(normal("z").exp() ** 2)), 1),  # its graph has the program's numbers at the second point
        (groups, 2),  # what indexing leaves out might hide a number
        (walk, 2),  # a run of its steps takes longer than their recording
    ],
    ids=["plain", "groups", "scan"],
)
def test_a_run_at_the_second_point_is_recorded_only_if_need_be(
    model: Callable[[], None], recordings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = itertools.count()
    record = Capture._record

    def counting(self: Capture, *args: Any, **options: Any) -> Any:
        next(recorded)
        return record(self, *args, **options)

    monkeypatch.setattr(Capture, "_record", counting)
    compiled = su.compile(model, engine="torch")
    assert next(recorded) == recordings
    q = torch.linspace(0.2, 0.4, compiled.dim, **DOUBLE)
    assert compiled.value_and_grad(q)[0] == pytest.approx(float(compiled.density(q)), rel=1e-14)


def test_points_are_searched_for_where_the_program_fails_at_the_first_ones() -> None:
    runs = itertools.count()

    def model() -> None:
        z = su.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        if 2 <= next(runs) <= 3:
            raise torch.linalg.LinAlgError("not here")
        su.factor("f", -(z**2).sum())

    assert su.compile(model, engine="torch").value_and_grad([0.0, 0.0])[0] == pytest.approx(-1.8378770664093453)


def test_the_first_point_has_a_finite_density_where_there_is_such() -> None:
    def model() -> None:
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.factor("f", torch.where(z > 0.9, torch.zeros(()), torch.tensor(-torch.inf)))

    compiled = su.compile(model, engine="torch")
    assert math.isfinite(compiled.value_and_grad(compiled.points[0].numpy())[0])
