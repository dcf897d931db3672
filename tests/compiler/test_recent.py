"""What was compiled before is used again where the recording is the same, but for the numbers of data that no pass has used."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.compiler import build_density, recent
from sursum.compiler.capture.capture import Capture
from sursum.compiler.recent import RECENT, Recent
from sursum.errors import EscapeError

pytestmark = pytest.mark.reuse

Y = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)


def model(y):
    mu = su.sample("mu", dist.Normal(0.0, 2.0))
    su.deterministic("twice", 2 * mu)
    su.sample("y", dist.Normal(mu, 1.0).expand([3]).to_event(1), obs=y)


def test_the_same_program_and_data_have_the_same_c():
    first, second = su.compile(model, Y), su.compile(model, Y.clone())
    assert second.native is first.native
    assert second.density is not first.density
    q = np.array([0.4])
    assert second.value_and_grad(q)[0] == float(second.density(torch.from_numpy(q)))
    assert torch.equal(second.expand(q[None])["twice"], torch.tensor([0.8], dtype=torch.float64))


def test_other_data_have_the_same_library():
    first, second = su.compile(model, Y), su.compile(model, Y + 1.0)
    assert second.native is not first.native
    assert second.native.address == first.native.address
    q = torch.tensor([0.4], dtype=torch.float64)
    for compiled in (first, second):
        assert compiled.value_and_grad(q)[0] == pytest.approx(float(compiled.density(q)), rel=1e-14)


def test_a_density_that_is_not_finite_where_it_is_first_tried_is_recorded_there_once(monkeypatch):
    """And where it has been searched for a point, an earlier density serves as well."""
    points = torch.tensor([1e200], dtype=torch.float64), torch.tensor([2e200], dtype=torch.float64)
    monkeypatch.setattr(build_density, "nearby_points", lambda density: points)
    recorded = []
    record = Capture._record

    def counting(self, point, *args, **options):
        recorded.append(float(point))
        return record(self, point, *args, **options)

    monkeypatch.setattr(Capture, "_record", counting)
    first = su.compile(model, Y + 3.0)
    assert (recorded[0], len(recorded)) == (1e200, 2)
    second = su.compile(model, Y + 3.0)
    assert (recorded[2], len(recorded)) == (1e200, 4)
    assert second.native is first.native
    assert np.isfinite(recorded[3])
    assert abs(recorded[3]) < 100


def test_closures_and_globals_are_looked_at_by_recording():
    settings = {"scale": 1.0, "power": 2}

    def closed():
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.factor("f", -settings["scale"] * z.abs() ** settings["power"])

    q = np.array([0.7])
    values = []
    for change in ({}, {"scale": 2.0}, {"power": 4}, {"scale": 1.0, "power": 2}):
        settings.update(change)
        compiled = su.compile(closed)
        values.append(compiled.value_and_grad(q)[0])
        assert values[-1] == pytest.approx(float(compiled.density(torch.from_numpy(q))), rel=1e-14)
    assert len({round(value, 9) for value in values[:3]}) == 3
    assert values[3] == values[0]


def test_a_name_of_a_site_counts():
    def named(name):
        return su.compile(lambda: su.sample(name, dist.Normal(0.0, 1.0)))

    assert list(named("a").expand(np.zeros((1, 1)))) == ["a"]
    assert list(named("b").expand(np.zeros((1, 1)))) == ["b"]


def test_the_program_is_compared_with_the_c_of_the_earlier_one():
    """A branch that no operator shows: the second program takes it where it is not recorded."""
    taken = [False]

    def hidden(z):
        return 3.0 if taken[0] and abs(float(np.asarray(z.detach().tolist()))) > 1.0 else 0.0

    class Escaping(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z + hidden(z)

        @staticmethod
        def backward(ctx, slope):
            return slope

    def program():
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.factor("f", -(Escaping.apply(z) ** 2))

    su.compile(program)
    taken[0] = True
    with pytest.raises(EscapeError):
        su.compile(program)


def test_the_torch_engine_is_what_it_was_asked_for():
    su.compile(model, Y)
    assert su.compile(model, Y, engine="torch").engine == "torch"


def test_the_oldest_are_let_go(monkeypatch):
    graph = su.compile(model, Y).function.recorded
    known = Recent()
    for k in range(recent.MOST + 3):
        known.add(graph, (str(k),), k)
    made = {name: found and found.made for name in ("2", "3") for found in [known.find(graph, (name,))]}
    assert made == {"2": None, "3": 3}
    monkeypatch.setattr(recent, "MOST_BYTES", 2 * sum(c.nbytes for c in graph.constants.values()))
    known.add(graph, ("new",), "made")
    assert known.find(graph, ("18",)).made == 18
    assert known.find(graph, ("17",)) is None
    assert known.find(graph, ("new",)).made == "made"
    known.clear()
    assert known.find(graph, ("new",)) is None


def test_what_was_recorded_is_kept_in_one_place():
    su.compile(model, Y)
    assert len(RECENT._known) == 1
    su.compile(model, Y)
    assert len(RECENT._known) == 1
    su.compile(model, Y + 1.0)
    assert len(RECENT._known) == 1


# Other data ------------------------------------------------------------------------------------------------------------


def regression(x, group, scale, y):
    """Indices, divisions by data, a matrix, guards on a scale that does not depend on the unknowns, sites that use data."""
    beta = su.sample("beta", dist.Normal(0.0, 1.0).expand([x.shape[1]]).to_event(1))
    effect = su.sample("effect", dist.Normal(0.0, 1.0).expand([4]).to_event(1))
    mean = su.deterministic("mean", x @ beta + effect[group] * torch.softmax(beta, 0)[0])
    su.sample("y", dist.Normal(mean, scale).to_event(1), obs=y)


def chain(y):
    phi = su.sample("phi", dist.Uniform(-1.0, 1.0))
    _, h = su.scan(lambda h, x: (phi * h + x,) * 2, torch.zeros((), dtype=torch.float64), y[:-1])
    su.sample("y", dist.Normal(h, 1.0).to_event(1), obs=y[1:])


def data(seed, rows=40):
    rng = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(size, generator=rng, dtype=torch.float64) for size in ((rows, 8), (rows,)))
    group = torch.randint(0, 4, (rows,), generator=rng)
    return x, group, 0.5 + torch.rand(rows, generator=rng, dtype=torch.float64), y


def agree(program, args, compiled, same_text=True):
    """Whether a density is, bit for bit, the one that these data would have been compiled to anew."""
    RECENT.clear()
    anew = su.compile(program, *args)
    assert not same_text or compiled.source == anew.source
    q = np.random.default_rng(0).normal(scale=0.3, size=anew.dim)
    (value, gradient), (expected, slope) = compiled.value_and_grad(q), anew.value_and_grad(q)
    rounding = 0.0 if same_text else 1e-14
    np.testing.assert_allclose(value, expected, rtol=rounding)
    np.testing.assert_allclose(gradient, slope, rtol=rounding, atol=rounding * np.abs(slope).max())
    sites, others = compiled.expand(q[None]), anew.expand(q[None])
    assert sites.keys() == others.keys()
    assert all(torch.equal(sites[name], others[name]) for name in others)


@pytest.mark.parametrize(
    ("program", "first", "second"),
    [(regression, data(0), data(1)), (chain, data(0)[3:], data(1)[3:])],
    ids=["regression", "scan"],
)
def test_other_data_are_what_compiling_anew_would_make_of_them(program, first, second):
    earlier = su.compile(program, *first)
    other = earlier.with_data(*second)
    assert other.address == earlier.address
    agree(program, second, other)


def changed(which, change):
    args = list(data(1))
    args[which] = change(args[which].clone())
    return args


@pytest.mark.parametrize(
    "args",
    [
        changed(0, torch.zeros_like),
        changed(1, lambda group: group - 4),
        changed(2, lambda scale: scale * 1e300),
        changed(2, lambda scale: scale[:1].expand(40).contiguous()),
        changed(3, lambda y: y * 1e150),
        list(data(1, rows=41)),
    ],
    ids=["zeros", "negative_indices", "no_reciprocals", "one_scale", "huge", "another_length"],
)
def test_numbers_of_which_a_pass_has_made_use(args):
    """Whether or not the earlier C serves, the density is the one of these data."""
    earlier = su.compile(regression, *data(0))
    zeros = not args[0].any()  # which are a literal, if compiled anew
    agree(regression, args, earlier.with_data(*args), same_text=not zeros)


def test_an_earlier_literal_is_no_literal_of_other_data():
    def shifted(c):
        su.factor("f", -((su.sample("z", dist.Normal(0.0, 1.0)) - c) ** 2).sum())

    zeros, ones = torch.zeros(3, dtype=torch.float64), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    earlier = su.compile(shifted, zeros)
    other = earlier.with_data(ones)
    assert other.source != earlier.source
    agree(shifted, (ones,), other)


def test_equal_data_that_differ_now_are_two_arrays():
    def twice(a, b):
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.factor("f", -((z - a) ** 2).sum() - ((z - b) ** 4).sum())

    earlier = su.compile(twice, Y, Y.clone())
    agree(twice, (Y, Y + 1.0), earlier.with_data(Y, Y + 1.0))


def test_a_sign_that_removed_a_guard_is_asked_again():
    def rates(x, y):
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Poisson(x * z.exp()).to_event(1), obs=y)

    x, y = torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([1.0, 3.0], dtype=torch.float64)
    earlier = su.compile(rates, x, y)
    assert earlier.with_data(2 * x, y).address == earlier.address
    with pytest.raises(ValueError, match="rate"):
        earlier.with_data(-x, y)


def test_a_check_of_data_alone_is_made_again():
    earlier = su.compile(regression, *data(0))
    with pytest.raises(ValueError, match="scale"):
        earlier.with_data(*changed(2, lambda scale: -scale))


def test_constraints_of_an_index_that_depends_on_data_are_asked_again():
    """An index that is computed of the unknowns and of data, in bounds by the range of the data."""

    def picked(offset, table):
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.factor("f", -z * z + table[(z > 0).long() + offset].sum())

    table = torch.arange(8, dtype=torch.float64)
    earlier = su.compile(picked, torch.tensor([0, 5]), table)
    inside = earlier.with_data(torch.tensor([1, 4]), table)
    assert inside.address == earlier.address
    agree(picked, (torch.tensor([1, 4]), table), inside)
    edge = earlier.with_data(torch.tensor([0, 7]), table)  # 8 is outside where z > 0
    assert edge.value_and_grad(np.array([1.0]))[0] == -np.inf
    assert np.isfinite(edge.value_and_grad(np.array([-1.0]))[0])
