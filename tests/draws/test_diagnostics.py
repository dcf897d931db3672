"""Each warning: when it is given, when not, and whom it names."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest

from sursum.draws.diagnostics import Evidence, Hints, diagnose, element_name
from sursum.draws.ess_rhat import mixing

CHAINS, DRAWS = 4, 500


@pytest.fixture
def healthy() -> Evidence:
    """A run with nothing wrong: independent draws of a scalar and a vector, and a constant."""
    rng = np.random.default_rng(0)
    q = rng.normal(size=(CHAINS, DRAWS, 3))
    sites = {"tau": q[..., 0], "theta": q[..., 1:], "fixed": np.ones((CHAINS, DRAWS, 2))}
    stats = {
        "diverging": np.zeros((CHAINS, DRAWS), dtype=bool),
        "reached_max_treedepth": np.zeros((CHAINS, DRAWS), dtype=bool),
        "tree_depth": np.full((CHAINS, DRAWS), 3),
        "energy": rng.normal(size=(CHAINS, DRAWS)),
    }
    return Evidence({name: mixing(draws) for name, draws in sites.items()}, stats, q, ("tau", "theta[0]", "theta[1]"))


def with_site(evidence: Evidence, name: str, draws: np.ndarray) -> Evidence:
    return dataclasses.replace(evidence, mixing={**evidence.mixing, name: mixing(draws)})


def with_stat(evidence: Evidence, name: str, values: np.ndarray) -> Evidence:
    return dataclasses.replace(evidence, stats={**evidence.stats, name: values})


def test_nothing_is_said_where_all_is_well(healthy):
    assert diagnose(healthy) == ()


def test_divergences(healthy):
    diverging = np.zeros((CHAINS, DRAWS), dtype=bool)
    diverging[1, :7] = True
    (text,) = diagnose(with_stat(healthy, "diverging", diverging))
    assert text.startswith("7 of 2000 draws ended in a divergence: part of the posterior may be missing.")
    assert "`target_accept`" in text


@pytest.mark.parametrize(("sign", "side"), [(1, "low"), (-1, "high")])
def test_divergences_that_lie_together_name_the_place(healthy, sign, side):
    diverging = sign * healthy.unconstrained[..., 0] < -1.5
    (text,) = diagnose(with_stat(healthy, "diverging", diverging))
    assert f"divergence, most of them at {side} values of `tau`: " in text
    assert ("sample with `WALNUTS(model)`" in text) == (side == "low")
    (text,) = diagnose(dataclasses.replace(with_stat(healthy, "diverging", diverging), hints=Hints(walnuts=True)))
    assert "WALNUTS" not in text


def test_divergences_everywhere(healthy):
    (text,) = diagnose(with_stat(healthy, "diverging", np.ones((CHAINS, DRAWS), dtype=bool)))
    assert text.startswith("2000 of 2000 draws ended in a divergence: ")


def test_r_hat_names_the_worst_element(healthy):
    theta = healthy.unconstrained[..., 1:].copy()
    theta[0, :, 1] += 0.5
    tau = healthy.unconstrained[..., 0].copy()
    tau[0] += 0.3
    found = diagnose(with_site(with_site(healthy, "theta", theta), "tau", tau))
    (text,) = [text for text in found if text.startswith("R-hat")]
    value = float(mixing(theta).r_hat[1])
    assert 1.01 < value < 1.1
    assert text.startswith(f"R-hat of `theta[1]` is {value:.4f}, above 1.01: the chains do not agree on it.")


def test_chains_stuck_apart(healthy):
    stuck = np.broadcast_to(np.arange(CHAINS)[:, None], (CHAINS, DRAWS))
    found = diagnose(with_site(healthy, "tau", stuck))
    assert re.match(r"R-hat of `tau` is \d.+, above 1\.01: the chains do not agree", found[0])


def test_elements_that_may_have_changed_places(healthy):
    theta = healthy.unconstrained[..., 1:] / 3 + [-2.0, 2.0]
    theta[0] = theta[0, :, ::-1]
    (text,) = [text for text in diagnose(with_site(healthy, "theta", theta)) if text.startswith("R-hat")]
    assert mixing(theta).r_hat.min() > 1.5
    assert "Where the elements of `theta` can change places" in text
    assert "label switching" in text
    assert "`dist.Sorted(prior, n)`" in text
    for found in (
        with_site(healthy, "tau", theta[..., 0]),
        with_site(healthy, "theta", theta / 10 + healthy.unconstrained[..., 1:]),
    ):
        (text,) = [text for text in diagnose(found) if text.startswith("R-hat")]
        assert "label switching" not in text


def test_ess_names_kind_and_element(healthy):
    slow = np.repeat(healthy.unconstrained[:, : DRAWS // 25, 1:], 25, axis=1)
    found = diagnose(with_site(healthy, "theta", slow))
    (text,) = [text for text in found if "effective sample size" in text]
    sizes = mixing(slow)
    worst = min(sizes.ess_bulk.min(), sizes.ess_tail.min())
    assert worst < 400
    kind = "bulk" if worst == sizes.ess_bulk.min() else "tail"
    assert f"The {kind} effective sample size of `theta[" in text
    assert f"]` is {worst:.0f}, below 400 (100 per chain): its summaries are imprecise." in text


def test_tree_depth(healthy):
    reached = np.zeros((CHAINS, DRAWS), dtype=bool)
    reached[0, :3] = True
    (text,) = diagnose(with_stat(healthy, "reached_max_treedepth", reached))
    assert text.startswith("3 of 2000 draws reached the maximum tree depth, 3: ")
    assert "Raise `max_tree_depth`" in text


def test_low_energy_information_names_the_chain(healthy):
    energy = healthy.stats["energy"].copy()
    energy[2] = np.cumsum(energy[2])
    (text,) = diagnose(with_stat(healthy, "energy", energy))
    assert text.startswith("E-BFMI of chain 2 is 0.")
    assert "below 0.3" in text


def test_several_at_once_come_in_order(healthy):
    diverging = np.ones((CHAINS, DRAWS), dtype=bool)
    energy = np.cumsum(healthy.stats["energy"], axis=1)
    found = diagnose(with_stat(with_stat(healthy, "diverging", diverging), "energy", energy))
    assert [text.split()[0] for text in found] == ["2000", "E-BFMI"]


def test_quantities_without_a_diagnostic_are_passed_over(healthy):
    nothing = {"fixed": healthy.mixing["fixed"], "few": mixing(np.zeros((CHAINS, 3)))}
    assert diagnose(dataclasses.replace(healthy, mixing=nothing)) == ()
    assert diagnose(dataclasses.replace(healthy, mixing={})) == ()


def test_element_names():
    assert [element_name("x", place) for place in ((), (2,), (1, 0))] == ["x", "x[2]", "x[1, 0]"]


def long(evidence: Evidence, q: np.ndarray, **hints) -> Evidence:
    stats = {**evidence.stats, "n_steps": np.full((CHAINS, DRAWS), 100)}
    return dataclasses.replace(evidence, stats=stats, unconstrained=q, hints=Hints(**hints))


@pytest.fixture
def narrow(healthy) -> np.ndarray:
    """The two elements of theta are nearly the same."""
    q = healthy.unconstrained.copy()
    q[..., 2] = q[..., 1] + 0.01 * q[..., 2]
    return q


def test_long_trajectories_along_correlated_coordinates_name_the_metric(healthy, narrow):
    (text,) = diagnose(long(healthy, narrow))
    assert text.startswith("A draw takes 100 steps on average: the draws are valid but slow.")
    assert text.endswith("The coordinates of `theta` are strongly correlated: sample with `NUTS(model, metric='dense')`.")
    assert diagnose(long(healthy, narrow, low_rank=True)) == ()
    assert diagnose(long(healthy, healthy.unconstrained)) == ()
    assert diagnose(dataclasses.replace(healthy, unconstrained=narrow)) == ()  # trajectories are short


def test_the_metric_is_named_once_where_something_else_is_reported(healthy, narrow):
    reached = np.ones((CHAINS, DRAWS), dtype=bool)
    (text,) = diagnose(with_stat(long(healthy, narrow), "reached_max_treedepth", reached))
    assert "2000 of 2000 draws reached the maximum tree depth" in text
    assert "metric='dense'" in text
    (other,) = diagnose(with_stat(long(healthy, narrow, low_rank=True), "reached_max_treedepth", reached))
    assert "Raise `max_tree_depth`" in other


def test_a_funnel_names_what_to_non_centre(healthy):
    low = healthy.unconstrained[..., 0] < -1.5
    hints = Hints(scales={"tau": ("theta", "eta")})
    (text,) = diagnose(dataclasses.replace(with_stat(healthy, "diverging", low), hints=hints))
    assert "most of them at low values of `tau`: " in text
    assert "`tau` is the scale of `theta` and `eta`" in text
    assert 'su.reparam(model, {"theta": su.handlers.LocScaleReparam(0.0), "eta": su.handlers.LocScaleReparam(0.0)})' in text
    high = diagnose(dataclasses.replace(with_stat(healthy, "diverging", healthy.unconstrained[..., 0] > 1.5), hints=hints))
    assert "at high values of `tau`" in high[0]
    assert "LocScaleReparam" not in high[0]


def test_slow_chains_of_a_scale_name_what_to_non_centre(healthy):
    slow = np.repeat(healthy.unconstrained[:, : DRAWS // 25, 0], 25, axis=1)
    evidence = dataclasses.replace(with_site(healthy, "tau", slow), hints=Hints(scales={"tau": ("theta",)}))
    for text in diagnose(evidence):
        assert "`tau` is the scale of `theta`" in text
    energy = np.cumsum(healthy.stats["energy"], axis=1)
    (text,) = diagnose(dataclasses.replace(with_stat(healthy, "energy", energy), hints=Hints(scales={"tau": ("theta",)})))
    assert text.startswith("E-BFMI")
    assert "LocScaleReparam" in text


def test_only_weights_of_networks_are_called_so(healthy):
    stuck = with_site(healthy, "theta", np.broadcast_to(np.arange(CHAINS)[:, None, None], (CHAINS, DRAWS, 2)))
    assert "trust none of its summaries" in diagnose(stuck)[0]
    weights = dataclasses.replace(stuck, hints=Hints(networks=frozenset(["theta"])))
    assert "units can be permuted" in diagnose(weights)[0]


def test_hints_are_kept_in_a_note():
    hints = Hints(frozenset(["w", "a"]), {"tau": ("theta",)}, True)
    assert Hints.read(json.loads(json.dumps(hints.note()))) == hints
    assert Hints.read(None) == Hints()
