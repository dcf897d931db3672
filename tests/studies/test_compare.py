"""Programs compared: the order, the differences, and the weights, by hand and beside ArviZ."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import OptionError, SamplingError
from sursum.studies.compare import stacking_weights


def cross_validation(values, labels=None):
    values = np.asarray(values, dtype=float)
    return su.infer.CrossValidation(values, {}, (), tuple(range(len(values))) if labels is None else labels)


def test_differences_are_of_elements():
    one, other = np.array([-1.0, -2.0, -3.0, -4.0]), np.array([-1.5, -2.5, -3.25, -4.75])
    found = su.infer.compare({"other": cross_validation(other), "one": cross_validation(one)})
    assert found.names == ("one", "other")
    np.testing.assert_allclose(found.elpd, [-10.0, -12.0])
    np.testing.assert_allclose(found.difference, [0.0, 2.0])
    np.testing.assert_allclose(found.difference_se, [0.0, 2.0 * np.std([0.5, 0.5, 0.25, 0.75], ddof=1)])
    assert str(found).splitlines()[2].split()[:2] == ["one", "-10.0"]
    assert found._repr_html_().count("<tr>") == 3


def test_weights_maximise_the_density_of_the_mixture():
    """Two programs that predict halves of the data well, with densities a and b: of n elements, a share w of m/n is best where
    b is 0; in general the weight solves m (a − b) / (w a + (1 − w) b) = (n − m)(a − b) / ((1 − w) a + w b)."""
    a, b, m, n = 0.9, 0.1, 30, 40
    elpd = np.log(np.where(np.arange(n) < m, [[a], [b]], [[b], [a]]))
    # m (w b + (1 - w) a) = (n - m) (w a + (1 - w) b), linear in w
    w = (m * a - (n - m) * b) / ((m + (n - m)) * (a - b))
    np.testing.assert_allclose(stacking_weights(elpd), [w, 1 - w], atol=1e-4)
    # A program that is worse everywhere has no weight; one that is listed twice shares it.
    np.testing.assert_allclose(stacking_weights(np.log([[0.5] * 9, [0.2] * 9])), [1.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(stacking_weights(np.log([[0.5] * 9, [0.5] * 9])), [0.5, 0.5])


def linear(x, y, degree):
    mu = 0.0
    for power in range(degree + 1):
        mu = mu + su.sample(f"b{power}", dist.Normal(0.0, 2.0)) * x**power
    with su.plate("data", len(x)):
        su.sample("y", dist.Normal(mu, 0.5), obs=y)


@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_arviz_says_the_same():
    arviz = pytest.importorskip("arviz")
    g = torch.Generator().manual_seed(0)
    x = torch.linspace(-1.0, 1.0, 30)
    y = 1.0 + x + 0.5 * torch.randn(30, generator=g)
    mcmc = {"num_samples": 500, "num_warmup": 200, "seed": 0, "progress": False}
    own, theirs = {}, {}
    for name, degree in (("level", 0), ("line", 1)):
        sampler = su.infer.MCMC(su.infer.NUTS(linear), **mcmc)
        own[name] = su.infer.cross_validate(sampler, x, y, degree, plate="data")
        theirs[name] = sampler.run(x, y, degree).to_arviz(log_likelihood=True)
    found = su.infer.compare(own)
    table = arviz.compare(theirs, method="stacking")
    loo = next(column for column in table.columns if column in ("elpd_loo", "elpd"))
    assert list(table.index) == list(found.names) == ["line", "level"]
    # The same draws but for the seed of each fit: elpd of 30 elements by 2,000 draws is right within some hundredths.
    np.testing.assert_allclose(found.elpd, table[loo], atol=0.3)
    np.testing.assert_allclose(found.difference_se, table["dse"], rtol=0.05, atol=1e-12)
    np.testing.assert_allclose(found.weights, table["weight"], atol=0.03)


SAMPLER = {"num_warmup": 200, "num_samples": 300, "num_chains": 2}


def programs():
    quick = su.infer.MCMC(su.infer.NUTS(lambda x, y: linear(x, y, 0)), **SAMPLER)
    return {"level": quick, "line": replace(quick, kernel=su.infer.NUTS(lambda x, y: linear(x, y, 1)))}


def outlying():
    x = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64)
    y = 0.5 + x
    y[4] += 4.0  # which importance sampling does not leave out
    return x, y


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_programs_are_cross_validated_and_compared():
    x, y = outlying()
    found = su.infer.compare(programs(), x, y, plate="data", seed=7)
    each = {name: su.infer.cross_validate(one, x, y, plate="data", seed=7) for name, one in programs().items()}
    by_hand = su.infer.compare(each)
    assert str(found) == str(by_hand)
    np.testing.assert_array_equal(found.elpd, by_hand.elpd)
    assert sum(found.refitted) >= 1
    folds = su.infer.compare(programs(), x, y, plate="data", num_folds=3, seed=7)
    assert folds.refitted == (0, 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_workers_compare_as_this_process_does():
    x, y = outlying()
    here = su.infer.compare(programs(), x, y, plate="data", seed=7)
    there = su.infer.compare(programs(), x, y, plate="data", seed=7, on=su.cluster.Local(num_workers=2))
    np.testing.assert_array_equal(there.elpd, here.elpd)
    np.testing.assert_array_equal(there.weights, here.weights)
    assert there.refitted == here.refitted

    def stuck(x, y):
        if os.getpid() != main:
            raise ArithmeticError("elsewhere")
        linear(x, y, 0)

    main = os.getpid()
    with pytest.raises(ArithmeticError, match="elsewhere") as caught:
        su.infer.compare({**programs(), "stuck": stuck}, x, y, plate="data", seed=7, on=su.cluster.Local(num_workers=2))
    assert caught.value.__notes__[-1] == "The program was 'stuck'."


def test_what_cannot_be_compared():
    one = cross_validation([-1.0, -2.0])
    with pytest.raises(OptionError, match="at least two"):
        su.infer.compare({"one": one})
    with pytest.raises(OptionError, match="at least two"):
        su.infer.compare([one, one])
    for number in (np.nan, -np.inf):
        with pytest.raises(SamplingError, match=rf"program 'odd' gives element 1 .* density of {number}, with which no other"):
            su.infer.compare({"one": one, "odd": cross_validation([-1.0, number])})
    with pytest.raises(OptionError, match="the name 1, but names are strings"):
        su.infer.compare({1: one, 2: one})
    with pytest.raises(OptionError, match="`plate` together with results"):
        su.infer.compare({"one": one, "two": one}, plate="data")
    with pytest.raises(OptionError, match="'argument 1' together with results"):
        su.infer.compare({"one": one, "two": one}, torch.ones(3))
    with pytest.raises(OptionError, match="at least two programs"):
        su.infer.compare({"one": one, "two": programs()["level"]}, *outlying(), plate="data")
    with pytest.raises(OptionError, match="needs the name of the plate"):
        su.infer.compare(programs(), *outlying())
    with pytest.raises(OptionError, match="`on` is"):
        su.infer.compare(programs(), *outlying(), plate="data", on="ray")
    with pytest.raises(SamplingError, match="no plate 'date'"):
        su.infer.compare(programs(), *outlying(), plate="date")
    with pytest.raises(SamplingError, match="cannot be compared"):
        su.infer.compare({"one": one, "other": cross_validation([-1.0, -2.0, -3.0])})


def test_the_picture_names_the_programs():
    pytest.importorskip("matplotlib")
    figure = su.infer.compare({"a": cross_validation([-1.0, -2.0]), "b": cross_validation([-1.5, -2.1])}).plot()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b"]
