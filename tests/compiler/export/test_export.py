"""Exported densities: what other languages are told is what the program says."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import bridgestan
import numpy as np
import pytest
import torch
from tests.support.few import few

import sursum as su
import sursum.distributions as dist
from sursum.compiler import export as standalone_package
from sursum.compiler.compiled import compile_density
from sursum.compiler.export.export import identifiers
from sursum.compiler.native import lower
from sursum.distributions import constraints
from sursum.distributions.bijections import bijection
from sursum.errors import CompileError, DensityError, ObservationError
from sursum.infer.reparam import LocScaleReparam

D = torch.float64
DRIVER = Path(__file__).parent / "driver.c"


def schools():
    effect = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0], dtype=D)
    error = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0], dtype=D)
    mu, tau = su.sample("mu", dist.Normal(0.0, 5.0)), su.sample("tau", dist.HalfCauchy(5.0))
    with su.plate("school", 8):
        z = su.sample("z", dist.Normal(torch.zeros((), dtype=D), 1.0))
        theta = su.deterministic("theta", mu + tau * z)
        su.sample("y", dist.Normal(theta, error), obs=effect)


def shapes():
    """Matrices, simplexes, ordered and positive definite values, a network's dotted names, a rank of three."""
    box = su.sample("box", dist.Normal(torch.arange(24.0, dtype=D).reshape(2, 3, 4), 1.0).to_event(3))
    p = su.sample("p", dist.Dirichlet(torch.tensor([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]], dtype=D)).to_event(1))
    cuts = su.sample("cuts", dist.ImproperUniform(constraints.ordered, event_shape=(3,)))
    matrix = su.sample("S", dist.ImproperUniform(constraints.positive_definite, event_shape=(3, 3)))
    weight = su.sample("net.0.weight", dist.Uniform(-torch.ones(2, 2, dtype=D), 2.0).to_event(2))
    su.factor("around", -sum(x.square().sum() for x in (box, p, cuts, matrix, weight)))
    su.deterministic("square", torch.arange(6.0).reshape(2, 3) * cuts[0])
    su.deterministic("count", torch.tensor([1, 2]))


def single():
    """In single precision, with infinities and whole numbers among its data."""
    group = torch.tensor([0, 1, 1, 2])
    a = su.sample("a", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    with su.plate("data", 4):
        y = su.sample("y", dist.StudentT(4.0, a[group], 1.0), obs=torch.tensor([0.1, -0.3, 1.0, 2.5]))
        su.factor("bound", torch.where(a[group] < torch.tensor([torch.inf, 9.0, 8.0, 7.0]), 0.0, -1.0) * y.abs())


def process():
    """A Gaussian process of 60 points: the compiled one asks LAPACK and BLAS."""
    x = torch.linspace(0.0, 1.0, 60, dtype=D)
    scale = su.sample("scale", dist.LogNormal(torch.tensor(-1.0, dtype=D), 0.5))
    weights = su.sample("weights", dist.Normal(torch.zeros(36, 2, dtype=D), 1.0).to_event(2))
    square = weights @ weights.T
    covariance = torch.exp(-((x[:, None] - x) ** 2) / (2 * scale**2)) + 0.1 * torch.eye(60, dtype=D)
    su.sample("f", dist.MultivariateNormal(torch.zeros(60, dtype=D), covariance), obs=torch.sin(6 * x))
    su.factor("product", -(square @ square).square().sum() * 1e-6)


def scanned():
    """Loops in time: states drawn in every step, and a forward algorithm."""
    y = torch.sin(torch.arange(30.0, dtype=D))
    phi, scale = su.sample("phi", dist.Uniform(-1.0, torch.ones((), dtype=D))), su.sample("scale", dist.LogNormal(0.0, 0.5))
    moves = su.sample("moves", dist.Dirichlet(torch.ones(3, 3, dtype=D)).to_event(1)).log()

    def step(h, y):
        h = su.sample("h", dist.Normal(phi * h, scale))
        su.sample("y", dist.Normal(0.0, (h / 2).exp()), obs=y)
        return h, h

    def forward(a, y):
        return torch.logsumexp(a[:, None] + moves, 0) - (y - torch.arange(3.0)) ** 2, None

    last, path = su.scan(step, torch.tensor(0.5, dtype=D), y)
    su.deterministic("last", last)
    su.deterministic("path", path)
    su.factor("seen", su.scan(forward, torch.zeros(3, dtype=D), y)[0].logsumexp(0))


scanned_apart = su.reparam(scanned, {"h": LocScaleReparam(0.0)})


def spectra():
    """Eigenvalues and singular values, with their vectors; one matrix is of rank one."""
    w = su.sample("w", dist.Normal(torch.zeros(3, 5, dtype=D), 1.0).to_event(2))
    values, vectors = torch.linalg.eigh(w @ w.T + torch.eye(3, dtype=D))
    u, s, vt = torch.linalg.svd(w, full_matrices=False)
    whole = torch.linalg.svd(w.T)[0]
    one = torch.linalg.svdvals(w[0, :, None] * w[1])[0]
    y = torch.tensor([0.3, -1.0, 0.5], dtype=D)
    su.factor("fit", -((vectors.T @ y) ** 2 / values).sum() - values.log().sum() - ((u.T @ y) * s).square().sum() - one)
    su.deterministic("turned", (u * s.sqrt()) @ vt)
    su.deterministic("beyond", (whole[:, 3:] @ whole[:, 3:].T).detach())


PROGRAMS = {
    "schools": schools,
    "shapes": shapes,
    "single": single,
    "process": process,
    "spectra": spectra,
    "scanned": scanned,
    "scanned_apart": scanned_apart,
}


class Exported(dict):
    """Each program's compiled density, and the path of its library, made when they are first asked for."""

    def __init__(self, directory):
        super().__init__()
        self.directory = directory

    def __missing__(self, name):
        path = self.directory / f"{name}.so"
        density = su.compile(PROGRAMS[name], engine="native")
        density.export(path)
        self[name] = density, path
        return self[name]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return Exported(tmp_path_factory.mktemp("exported"))


# The loops of `scanned_apart` are those of `scanned`, and two more; the C of `spectra` is that of test_spectral.py.
FAST = [name for name in PROGRAMS if name not in ("scanned_apart", "spectra")]


def loaded(path, data=None):
    """The library through the bridgestan package, which warns of a second load."""
    return bridgestan.StanModel(path, data, warn=False)


def column_major(values):
    return np.concatenate([value.double().numpy().flatten(order="F") for value in values])


def points(density, count=3):
    rng = np.random.default_rng(5)
    return [density.density.start(rng) for _ in range(count)]


@pytest.mark.parametrize("name", few(PROGRAMS, FAST))
def test_bridgestan_says_what_the_density_says(exported, name):
    density, path = exported[name]
    model = loaded(path)
    assert ".".join(map(str, model.model_version())) == version("bridgestan")
    assert model.name() == density.density.title
    assert model.param_unc_num() == density.dim == len(model.param_unc_names())
    bare = compile_density(density.density.without_jacobian(), engine="torch")
    for q in points(density):
        value, gradient = density.value_and_grad(q)
        found, slope = model.log_density_gradient(q)
        assert found == model.log_density(q)
        np.testing.assert_allclose(found, value, rtol=1e-12)
        np.testing.assert_allclose(slope, gradient, rtol=1e-9, atol=1e-10 * np.abs(gradient).max())
        value, gradient = bare.value_and_grad(q)
        found, slope = model.log_density_gradient(q, jacobian=False)
        np.testing.assert_allclose(found, value, rtol=1e-12)
        np.testing.assert_allclose(slope, gradient, rtol=1e-9, atol=1e-10 * np.abs(gradient).max())


@pytest.mark.parametrize("name", few(PROGRAMS, FAST))
def test_values_are_the_programs_in_column_major_order(exported, name):
    density, path = exported[name]
    model = loaded(path)
    for q in points(density):
        sites = {key: value[0] for key, value in density.expand(q[None]).items()}
        latents = [sites[latent.name] for latent in density.density.latents]
        np.testing.assert_allclose(model.param_constrain(q), column_major(latents), rtol=1e-12)
        np.testing.assert_allclose(model.param_constrain(q, include_tp=True), column_major(sites.values()), rtol=1e-12)
        np.testing.assert_allclose(model.param_unconstrain(model.param_constrain(q)), q, rtol=1e-6, atol=1e-6)
        json = {n: v.numpy() for n, v in zip(identifiers(list(sites)), latents, strict=False)}
        np.testing.assert_allclose(model.param_unconstrain_json(json), q, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "loops"), few([("scanned", 2), ("scanned_apart", 4)], [("scanned", 2)]))
def test_loops_in_time_stay_loops(exported, name, loops):
    text = exported[name][1].with_suffix(".c").read_text()
    assert len(re.findall("^static .*int density_loop_[0-9]+[(]", text, re.MULTILINE)) == loops


def test_names_are_identifiers_and_elements_count_from_one(exported):
    names = loaded(exported["shapes"][1]).param_names(include_tp=True)
    assert names[:7] == ["box.1.1.1", "box.2.1.1", "box.1.2.1", "box.2.2.1", "box.1.3.1", "box.2.3.1", "box.1.1.2"]
    assert names[-8:] == [
        "square.1.1",
        "square.2.1",
        "square.1.2",
        "square.2.2",
        "square.1.3",
        "square.2.3",
        "count.1",
        "count.2",
    ]
    assert "net_0_weight.2.1" in names
    assert loaded(exported["shapes"][1]).param_unc_names()[-10:-4] == [f"S.{i}" for i in range(1, 7)]
    assert len(set(identifiers(["a.b", "a_b", "a b", "9", "", "lp__"]))) == 6


def test_second_derivatives_are_those_of_autograd(exported):
    density, path = exported["schools"]
    model = loaded(path)
    q = points(density, 1)[0]
    wanted = torch.autograd.functional.hessian(density.density, torch.tensor(q)).numpy()
    value, gradient, found = model.log_density_hessian(q)
    assert value == model.log_density(q)
    np.testing.assert_array_equal(gradient, model.log_density_gradient(q)[1])
    np.testing.assert_allclose(found, wanted, atol=1e-7 * np.abs(wanted).max())
    np.testing.assert_array_equal(found, found.T)
    v = np.linspace(-1.0, 1.0, density.dim)
    np.testing.assert_allclose(
        model.log_density_hessian_vector_product(q, v)[1], wanted @ v, atol=1e-7 * np.abs(wanted @ v).max()
    )


def test_starts_hold_what_is_given_and_draw_the_rest(exported):
    model = loaded(exported["schools"][1])
    q = model.param_initialize(model.new_rng(3), {"tau": 2.0}, init_radius=1.0)
    assert q[1] == pytest.approx(np.log(2.0))
    rest = np.delete(q, 1)
    assert (np.abs(rest) < 1.0).all()
    assert len(np.unique(rest)) == len(rest)
    np.testing.assert_array_equal(q, model.param_initialize(model.new_rng(3), {"tau": 2.0}, init_radius=1.0))
    with pytest.raises(RuntimeError, match="outside of the support"):
        model.param_initialize(model.new_rng(3), {"tau": -2.0})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"mu": 1}', "a latent site has no value: tau"),
        ('{"nope": 1}', "a name that is not a latent site"),
        ("[", "an object was expected"),
        ('{"mu": "x"}', "a number is missing"),
        ('{"mu": 1.0, "tau": 2.0, "z": [1, 2, 3]}', "another shape than its site"),
        ('{"mu": [1.0]}', "a number is missing"),
        ('{"z": 1.0}', "fewer dimensions than its site"),
        ('{"mu": 1.0 "tau"', "a comma or the closing brace is missing"),
        ('{"mu": 1.0, "tau": -2.0, "z": [1, 2, 3, 4, 5, 6, 7, 8]}', "outside of the support"),
    ],
)
def test_values_that_cannot_be_read_are_an_error(exported, text, message):
    with pytest.raises(RuntimeError, match=message):
        loaded(exported["schools"][1]).param_unconstrain_json(text)


def test_data_are_inside(exported):
    with pytest.raises(RuntimeError, match="has its data inside"):
        loaded(exported["schools"][1], {"y": 1.0})


def test_eight_threads_get_the_bits_of_one(exported):
    density, path = exported["process"]
    model = loaded(path)
    where = points(density, 8) * 4
    alone = [model.log_density_gradient(q) for q in where]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(model.log_density_gradient, where))
    for (value, gradient), (other, slope) in zip(alone, together, strict=True):
        assert value == other
        np.testing.assert_array_equal(gradient, slope)


def compiled_driver(tmp_path, path, *options):
    """An executable of the driver, the C text and the C library, and nothing else."""
    target = tmp_path / "driver"
    command = ["cc", "-std=gnu11", *options, str(DRIVER), str(path.with_suffix(".c")), "-o", str(target), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.parametrize("name", few(PROGRAMS, ["schools", "scanned"]))
def test_a_c_program_needs_no_python_and_is_clean_under_sanitizers(exported, name, tmp_path):
    density, path = exported[name]
    options = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    # OpenMP pragmas and unused arguments are the compiler's to ignore.
    driver = compiled_driver(tmp_path, path, *options, "-Wno-unknown-pragmas", "-Wno-unused")
    q = points(density, 1)[0]
    done = subprocess.run([driver, *map(repr, q.tolist())], capture_output=True, text=True, env={}, check=False)
    assert done.returncode == 0, done.stderr
    lines = {key: rest for key, _, rest in (line.partition(" ") for line in done.stdout.splitlines())}
    numbers = {key: np.array(rest.split(), dtype=float) for key, rest in lines.items() if key != "error"}
    value, gradient = density.value_and_grad(q)
    assert "data inside" in lines["error"]
    np.testing.assert_allclose(numbers["value"], value, rtol=1e-11)
    np.testing.assert_allclose(numbers["gradient"], gradient, atol=1e-9 * np.abs(gradient).max())
    np.testing.assert_allclose(numbers["values"], column_major(v[0] for v in density.expand(q[None]).values()), rtol=1e-11)
    np.testing.assert_allclose(numbers["again"], q, rtol=1e-6, atol=1e-6)


def test_nutpie_samples_it_through_its_stan_entry(exported):
    import nutpie
    from nutpie.compile_stan import CompiledStanModel

    library = nutpie._lib.StanLibrary(str(exported["schools"][1]))
    model = CompiledStanModel(code="", library=library, dims={}, _coords={}, model_name="schools", model=None, data=None)
    settings = {"draws": 2000, "tune": 500, "chains": 2, "seed": 1, "progress_bar": False}
    theirs = np.asarray(nutpie.sample(model, return_raw_trace=False, **settings).posterior["mu"])
    kernel = su.infer.NUTS(schools, target_accept=0.99)
    ours = su.infer.MCMC(kernel, num_warmup=500, num_samples=2000, num_chains=2, seed=2, progress=False).run()["mu"].numpy()
    import arviz

    error = np.hypot(*(float(x.std() / np.sqrt(arviz.ess(x))) for x in (theirs, ours)))
    assert abs(theirs.mean() - ours.mean()) < 4 * error


def test_every_routine_that_lowerings_call_has_a_stand_in():
    texts = [path.read_text() for path in Path(lower.__file__).parent.glob("*.py")]
    routines = {name for text in texts for name in re.findall(r"""\.blas\(["'](\w+)["']\)""", text)}
    assert {"dgemm", "dtrsm", "dpotrf"} <= routines
    there = {path.stem for path in Path(standalone_package.__file__).parent.glob("*.c")}
    assert routines <= there


def test_arrays_keep_every_bit():
    from sursum.compiler.export.text import _number

    for x in (0.1, -0.0, 5e-324, 1.7976931348623157e308, 1 / 3, 2**53 + 1, -(2**63), 2**63 - 1):
        text = _number(x).removeprefix("INT64_C(").removesuffix(")")
        assert text == "INT64_MIN" or type(x)(text) == x
    assert [_number(x) for x in (float("inf"), float("-inf"), float("nan"))] == ["INFINITY", "-INFINITY", "NAN"]
    assert [_number(x) for x in (-(2**63), True, False)] == ["INT64_MIN", "1", "0"]


def test_another_machine_can_be_asked_for(tmp_path):
    density = su.compile(lambda: su.sample("z", dist.Normal(0.0, 1.0)), engine="native")
    density.export(tmp_path / "plain.so", march="x86-64" if sys.platform == "linux" else "native")
    assert loaded(tmp_path / "plain.so").log_density(np.array([1.0])) == density.value_and_grad(np.array([1.0]))[0]
    with pytest.raises(CompileError, match="the C compiler .* failed; it says:"):
        density.export(tmp_path / "other.so", march="no-such-machine")
    assert not (tmp_path / "other.so").exists()


def test_what_cannot_be_exported_says_why(tmp_path):
    program = lambda: su.sample("z", dist.Normal(0.0, 1.0))
    with pytest.raises(CompileError, match="run by the torch engine and has no C"):
        su.compile(program, engine="torch").export(tmp_path / "z.so")
    with pytest.raises(CompileError, match="could not be written to .*nowhere"):
        su.compile(program, engine="native").export(tmp_path / "nowhere" / "z.so")


def blur(onto, free, dtype):
    """By how much coordinates move, at most and to first order, there and back through values of a precision.

    A value of n × n, and a factor of it, are right but for (2n + 1)·ε/2 of the largest number (Higham, "Accuracy and Stability
    of Numerical Algorithms", 2002, theorem 10.3), sums over n numbers for (n - 1)·ε/2; the Jacobian of the way back says what
    that does to the coordinates, of which each is rounded as well.
    """
    eps, values = torch.finfo(dtype).eps, onto(free)
    jacobian = torch.autograd.functional.jacobian(onto.inv, values).reshape(free.numel(), -1)
    wide = 1 + values.shape[-1] if values.dim() else 1
    return wide * eps * (jacobian.abs().sum(1).reshape(free.shape) * values.abs().max() + free.abs().clamp(min=1.0))


@pytest.mark.parametrize("seed", range(5))
def test_ravel_is_the_inverse_of_unravel(seed):
    density = su.infer.LogDensity(shapes)
    q = torch.from_numpy(density.start(np.random.default_rng(seed)))
    values = density.unravel(q)
    again, known = density.ravel(values), su.trace(su.condition(shapes, values)).get_trace()
    for latent in density.latents:
        free = q[latent.start : latent.stop].reshape(latent.free_shape)
        off = (again[latent.start : latent.stop].reshape(latent.free_shape) - free).abs()
        allowed = blur(bijection(known.nodes[latent.name]["fn"].support), free, latent.dtype)
        assert (off <= allowed).all(), (latent.name, off, allowed)
        assert allowed.max() < 1e-2, "a bound that does not tell"


def test_ravel_says_what_is_missing_or_wrong():
    density = su.infer.LogDensity(shapes)
    q = torch.from_numpy(density.start(np.random.default_rng(1)))
    with pytest.raises(DensityError, match="no value is given .*'cuts'"):
        density.ravel({"box": torch.zeros(2, 3, 4)})
    with pytest.raises(DensityError, match=r"'p' .* has shape \(3,\), and the site's is \(2, 3\)"):
        density.ravel(density.unravel(q) | {"p": torch.ones(3, dtype=D)})
    with pytest.raises(ObservationError, match=r"site 'p' .*outside the support"):
        density.ravel(density.unravel(q) | {"p": torch.ones(2, 3, dtype=D)})
