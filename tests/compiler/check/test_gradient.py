"""A gradient that is not the derivative is found, at compile time and by `check`; whatever else looks like one is not."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks import sursum_models
from tests.support.few import few
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.compiler.check.slopes import SlopePoint
from sursum.compiler.compiled import CompiledDensity
from sursum.errors import DensityError, GradientWarning

DOUBLE: dict[str, Any] = {"dtype": torch.float64}


class Right(torch.autograd.Function):
    """x², its derivative 2x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * ctx.saved_tensors[0] * slope


class Wrong(Right):
    """x², its derivative 3x, wrongly."""

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # type: ignore[override]
        return 3 * ctx.saved_tensors[0] * slope


class Clamped(torch.autograd.Function):
    """min(x, 1), wrong above 1 only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp(max=1.0)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # type: ignore[override]
        return slope


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # type: ignore[override]
        return -slope


class Layer(nn.Module):
    def __init__(self, function: type[torch.autograd.Function]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.function.apply(x)
        return out


def latent(*size: int, name: str = "z") -> Tensor:
    return su.sample(name, dist.Normal(torch.zeros(size, **DOUBLE), 1.0).to_event(len(size)))


def term(x: Tensor) -> None:
    su.factor("f", -x.sum())


def network(layer: nn.Module) -> Callable[..., Any]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 3, generator=generator), torch.randn(20, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), layer, nn.Linear(4, 1))

    def program() -> None:
        out = su.module("net", net)(x).squeeze(-1)
        with su.plate("rows", len(x)):
            su.sample("y", dist.Normal(out, 0.5), obs=y)

    return su.lift(program, {"net.**": dist.Normal(0.0, 1.0)})


def scanned(function: type[torch.autograd.Function]) -> Callable[[], None]:
    def program() -> None:
        a = latent()

        def step(carry: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            carry = 0.5 * function.apply(carry) + a * x
            return carry, carry

        last, _ = su.scan(step, 0.1 * a, torch.linspace(0.0, 1.0, 10, **DOUBLE))
        term((last - 1.0) ** 2)

    return program


def compiled(program: Callable[..., Any], engine: str | None) -> tuple[CompiledDensity, list[str]]:
    """The density, and what was said of its gradient."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        density = su.compile(program, engine=engine)
    return density, [str(one.message) for one in caught if issubclass(one.category, GradientWarning)]


def _by_engine(names: Iterable[str], *both: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Each name with each engine, and the fast ones of these pairs: all in C, and a few by torch."""
    pairs = [(name, engine) for name in names for engine in ("native", "torch")]
    return pairs, [(name, engine) for name, engine in pairs if engine == "native" or name in both]


# Found ------------------------------------------------------------------------------------------------------------------


def hooked() -> None:
    x = latent() * 1.0
    if x.requires_grad:  # a program is also run without gradients
        x.register_hook(lambda slope: 0.1 * slope)
    term(x**2)


def detached() -> None:
    x = latent()
    term((x - 0.5 * x.detach()) ** 2)


def untracked() -> None:
    x = latent()
    with torch.no_grad():
        weight = torch.exp(-x)
    term(weight * x**2)


def straight_through() -> None:
    x = latent(3)
    term((x + (x.round() - x).detach()) ** 2)


def hooked_module() -> Callable[..., Any]:
    layer = nn.Linear(4, 4)
    layer.register_full_backward_hook(lambda module, given, gone: tuple(0.5 * slope for slope in given))
    return network(layer)


NOT_DERIVATIVES: dict[str, tuple[Callable[..., Any], set[str]]] = {
    "function": (lambda: term(Wrong.apply(latent(4))), {"z"}),
    "function in single precision": (
        lambda: term(Wrong.apply(su.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1)))),
        {"z"},
    ),
    "small part": (lambda: term(1e-3 * Wrong.apply(latent())), {"z"}),
    "one site of two": (lambda: term(Wrong.apply(latent(2, name="a")) + latent(2, name="b") ** 2), {"a"}),
    "reversal": (lambda: term((Reversed.apply(latent()) - 1.0) ** 2), {"z"}),
    "in a region": (lambda: term((Clamped.apply(latent(4)) - 2.0) ** 2), {"z"}),
    "straight-through": (straight_through, {"z"}),
    "hook": (hooked, {"z"}),
    "detach": (detached, {"z"}),
    "no_grad": (untracked, {"z"}),
    "network": (network(Layer(Wrong)), {"net.0.weight", "net.0.bias"}),
    "module hook": (hooked_module(), {"net.0.weight", "net.0.bias"}),
    "scan": (scanned(Wrong), {"z"}),
}


# The comparison is the same for both engines.
@pytest.mark.parametrize(("name", "engine"), few(*_by_engine(NOT_DERIVATIVES, "function", "network", "scan")))
def test_what_is_no_derivative_is_found_with_its_site(name: str, engine: str) -> None:
    program, sites = NOT_DERIVATIVES[name]
    density, said = compiled(program, engine)
    assert len(said) == 1
    assert "the gradient of the log density is not its derivative" in said[0]
    assert all(repr(site) in said[0] for site in sites)
    if engine == "native":
        found = density.check()
        assert set(found.wrong) == sites
        assert not found.passed()


def test_the_eager_engine_is_checked() -> None:
    def program() -> None:
        x = su.sample("z", dist.Normal(torch.zeros(4), 1.0).to_event(1))
        term(torch.fft.fft(Wrong.apply(x)).real ** 2)

    density, said = compiled(program, None)
    assert density.engine == "eager"
    assert len(said) == 1
    assert density.check().wrong == ("z",)


def test_the_message_names_the_function_the_line_and_both_slopes() -> None:
    """log p = -z²/2 - z², and by the gradient -z²/2 and 3/2 of -z²: slopes of -3z v and -4z v."""
    with pytest.warns(GradientWarning, match=r"by site 'z' \(test_gradient\.py:\d+\).*in Wrong: correct it") as caught:
        density = su.compile(lambda: term(Wrong.apply(latent())))
    text = str(caught[0].message)
    claimed, measured = (float(text.split(end)[0].split()[-1]) for end in (" by the gradient", " by differences"))
    assert claimed / measured == pytest.approx(4 / 3, abs=1e-4)
    assert density.value_and_grad([0.5])[1] == pytest.approx([-2.0], abs=1e-12)  # it is kept as it was written


def test_check_of_a_program_says_so_once() -> None:
    found = su.check(lambda: term(Wrong.apply(latent())))  # a warning would be an error here
    (row,) = found.rows
    assert (row.site, row.wrong, found.causes) == ("z", True, ("Wrong",))
    assert row.claimed / row.measured == pytest.approx(4 / 3, abs=1e-6)
    assert row.error == pytest.approx(1 / 4, abs=1e-6)
    assert str(found).startswith("FAILED: the gradient is not the derivative of the log density by 'z', at 5 points.")
    assert "WRONG" in found._repr_html_()


def test_points_are_the_ones_that_are_asked_for() -> None:
    density, _ = compiled(lambda: term((Clamped.apply(latent()) - 2.0) ** 2), "native")
    assert density.check(at=np.array([0.5])).passed()
    assert density.check(at=np.array([[0.5], [1.5]])).wrong == ("z",)
    assert density.check(at=np.array([[0.5], [1.5]])).num_points == 2
    with pytest.raises(DensityError, match="q has shape"):
        density.check(at=np.zeros(3))


def test_where_there_is_no_density_there_is_nothing_to_check() -> None:
    density = su.compile(lambda: term(-torch.log(1 - latent())))
    with pytest.raises(DensityError, match="finite at none of the points"):
        density.check(at=np.array([2.0]))


# Not found, since it is not there ---------------------------------------------------------------------------------------


def gaussian_process(jitter: float) -> Callable[[], None]:
    def program() -> None:
        x = torch.linspace(0.0, 1.0, 20, **DOUBLE)
        length = su.sample("length", dist.LogNormal(torch.zeros((), **DOUBLE), 1.0))
        cov = torch.exp(-0.5 * ((x[:, None] - x) / length) ** 2) + jitter * torch.eye(20, **DOUBLE)
        su.sample("y", dist.MultivariateNormal(torch.zeros(20, **DOUBLE), cov), obs=torch.sin(3 * x))

    return program


def chaotic() -> None:
    rate = su.sample("rate", dist.Uniform(torch.tensor(3.6, **DOUBLE), torch.tensor(4.0, **DOUBLE)))
    x = torch.tensor(0.3, **DOUBLE)
    for _ in range(80):
        x = rate * x * (1 - x)
    term(100.0 * (x - 0.2) ** 2)


def tied() -> None:
    x = latent(3)
    term(torch.relu(torch.cat([x, x.new_zeros(2)])).sum() + (x - x).relu() + torch.maximum(x, x) + (0 * x).abs())


def shifted() -> None:
    x = latent(5)
    most = x.max().detach()
    term(most + (x - most).exp().sum().log())


def precise() -> None:
    y = torch.linspace(1000.0, 1000.01, 100)
    su.sample("y", dist.Normal(su.sample("m", dist.Normal(0.0, 100.0)), 1e-3).expand([100]).to_event(1), obs=y)


DERIVATIVES: dict[str, Callable[..., Any]] = {
    "function": lambda: term(Right.apply(latent(4))),
    "network": network(Layer(Right)),
    "scan": scanned(Right),
    "many kinks": network(nn.ReLU()),
    "kinks": lambda: term(latent(20).abs()),
    "root": lambda: term(latent(4).abs().sqrt()),
    "ties": tied,
    "detach that changes nothing": shifted,
    "steps": lambda: term((10.0 * latent(3)).round()),
    "small steps": lambda: term((1e3 * latent(3)).floor() * 1e-3),
    "sorted": lambda: term(latent(6).sort().values * torch.arange(6.0, **DOUBLE)),
    "guard": lambda: term(-torch.log(1 - latent() ** 2)),
    "saturated": lambda: term(torch.sigmoid(50.0 * latent() + 40.0)),
    "cancelled": lambda: term((1e16 + latent() ** 2) - 1e16),
    "cancelled in part": lambda: term((1e12 + latent() ** 2) - 1e12),
    "nearly singular": gaussian_process(1e-12),
    "ill-conditioned": gaussian_process(1e-8),
    "chaotic": chaotic,
    "far": lambda: su.sample("z", dist.Normal(torch.tensor(1e8, **DOUBLE), 1.0)),
    "narrow": lambda: su.sample("z", dist.Cauchy(torch.zeros((), **DOUBLE), 1e-6)),
    "data in single precision": precise,
    "constant": lambda: term(0.0 * latent()),
}


@pytest.mark.parametrize(("name", "engine"), few(*_by_engine(DERIVATIVES, "function", "kinks", "scan", "ill-conditioned")))
def test_a_derivative_is_believed(name: str, engine: str) -> None:
    density, said = compiled(DERIVATIVES[name], engine)
    assert said == []
    assert density.check().passed()


def test_the_eager_engine_is_believed_in_single_precision() -> None:
    def program() -> None:
        x = su.sample("z", dist.Normal(torch.zeros(16), 1.0).to_event(1))
        su.factor("f", -torch.view_as_real(torch.fft.fft(100.0 * x)).square().sum())

    density, said = compiled(program, None)
    assert (density.engine, said) == ("eager", [])
    assert density.check().passed()


def _loaded(name: str) -> tuple[Any, ...]:
    program, data = sursum_models.load(name)
    return program, *data


@pytest.mark.parametrize("name", ["eight_schools", "radon", "logistic_small", "correlated"])
def test_the_models_of_the_benchmarks_pass(name: str) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        found = su.check(*_loaded(name))
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.passed()
    assert max(row.error for row in found.rows) < 1e-4


# The comparison itself --------------------------------------------------------------------------------------------------


def slopes_of(value: Callable[[float], float], slope: float, at: float) -> tuple[bool, bool]:
    """Whether the first look and the second one find a slope wrong."""

    def run(q: np.ndarray) -> tuple[float, np.ndarray]:
        return value(float(q[0])), np.array([slope])

    point = SlopePoint(run, lambda q: tuple(torch.as_tensor(part) for part in run(q.numpy())), np.array([at]))
    return point.is_suspect(np.ones(1)), point.slope(np.ones(1)).wrong


@pytest.mark.parametrize(
    ("value", "slope", "at", "wrong"),
    [
        (lambda x: x**3, 12.0, 2.0, False),
        (lambda x: x**3, 12.1, 2.0, True),
        (abs, 0.3, 0.0, False),  # any slope between those of the sides
        (abs, 1.3, 0.0, True),
        (lambda x: float(x > 1.0), 0.0, 1.0, False),  # a step
        (lambda x: np.log(x) if x > 0 else -np.inf, 1e5, 1e-5, False),  # near the end of the support
        (np.exp, float(np.exp(3.0)) * (1 + 1e-5), 3.0, False),  # an approximation
        (lambda x: 1e9 * np.sin(1e3 * x), 0.0, 0.001, True),
    ],
)
def test_slopes(value: Callable[[float], float], slope: float, at: float, wrong: bool) -> None:
    suspect, found = slopes_of(value, slope, at)
    assert found is wrong
    assert suspect or not wrong
