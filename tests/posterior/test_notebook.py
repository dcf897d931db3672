"""The view of a posterior in a notebook: well-formed, safe, and with a line for every chain."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from sursum.posterior.posterior import Posterior


def view(sites, **fields):
    draws = next(iter(sites.values()))
    return Posterior(sites, {}, np.zeros((*draws.shape[:2], 1)), **fields)._repr_html_()


def parsed(text):
    return ElementTree.fromstring(text)


def test_it_has_table_warnings_notes_and_a_line_for_each_chain():
    draws = torch.from_numpy(np.random.default_rng(0).normal(3.0, 2.0, size=(4, 3000)))
    tree = parsed(view({"mu": draws, "n": draws.long()}, warnings=("Mind the gap.",), notes=("Added later.",)))
    assert "Mind the gap." in "".join(tree.itertext())
    assert "Added later." in "".join(tree.itertext())
    assert "Posterior: 4 chains of 3000 draws" in "".join(tree.itertext())
    assert next(cell.text for cell in tree.iter("td")) == "mu"
    lines = list(tree.iter("polyline"))
    assert len(lines) == 8
    points = np.array([[float(x) for x in pair.split(",")] for pair in lines[0].get("points").split()])
    assert 300 < len(points) <= 600
    step = 3000 // 440
    low, high = float(draws.min()), float(draws.max())
    wanted = 46 - (draws[0, ::step].numpy() - low) / (high - low) * 44
    np.testing.assert_allclose(points[:, 1], wanted, atol=0.051)


def test_names_are_escaped():
    text = view({"<script>alert('x')</script>&": torch.zeros(2, 5)}, warnings=("<b>",))
    assert "<script>" not in text
    assert "<b>" not in text.replace("<b>Posterior", "")
    parsed(text)


def test_only_some_of_many_are_drawn():
    tree = parsed(view({"theta": torch.randn(2, 50, 40, dtype=torch.float64)}))
    assert len(list(tree.iter("svg"))) == 12
    assert "… and 28 more" in "".join(tree.itertext())


@pytest.mark.parametrize("draws", [torch.zeros(2, 0), torch.zeros(1, 1), torch.full((2, 9), torch.nan), torch.ones(2, 9)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_draws_of_any_kind(draws):
    parsed(view({"x": draws.double()}))
