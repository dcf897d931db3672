"""The table of a posterior: right numbers, read by name, printed to be read."""

from __future__ import annotations

import numpy as np

from sursum.draws.ess_rhat import mixing
from sursum.draws.summary import COLUMNS, summarise

DRAWS = np.random.default_rng(0).normal(size=(4, 250, 3)) * [1.0, 10.0, 0.01] + 5.0


def test_numbers_are_those_of_numpy():
    table = summarise({"x": DRAWS})
    flat = DRAWS.reshape(-1, 3)
    np.testing.assert_allclose(table["x"]["mean"], flat.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(table["x"]["sd"], flat.std(axis=0, ddof=1), rtol=1e-14)
    for column, probability in (("5%", 0.05), ("50%", 0.5), ("95%", 0.95)):
        np.testing.assert_array_equal(table["x"][column], np.quantile(flat, probability, axis=0))
    np.testing.assert_array_equal(table["x"]["r_hat"], mixing(DRAWS).r_hat)
    np.testing.assert_array_equal(table["x"]["ess_tail"], mixing(DRAWS).ess_tail)
    assert list(table) == ["x"]
    assert tuple(table["x"]) == COLUMNS


def test_it_prints_a_row_for_each_element_and_the_warnings():
    text = str(summarise({"x": DRAWS, "flag": DRAWS[..., 0] > 5}, warnings=("One.", "Two.")))
    lines = text.splitlines()
    assert lines[0].split() == list(COLUMNS)
    assert [line.split()[0] for line in lines[1:5]] == ["x[0]", "x[1]", "x[2]", "flag"]
    assert lines[-2:] == ["One.", "Two."]
    mean = float(DRAWS[..., 2].mean())
    assert lines[3].split()[1] == f"{mean:.4f}"
    assert len({len(line) for line in lines[:5]}) == 1, "columns stand below each other"


def test_long_sites_are_cut_in_print_only():
    table = summarise({"x": np.zeros((2, 10, 30))}, limit=5)
    rows = str(table).splitlines()
    assert [row.split()[0] for row in rows[1:]] == ["x[0]", "x[1]", "x[2]", "…", "x[29]"]
    assert rows[4] == "… 26 more"
    assert table["x"]["mean"].shape == (30,)


def test_constants_integers_and_extremes_print():
    values = {"constant": np.full((2, 10), 3.0), "tiny": np.full((2, 10), 1e-9), "count": np.full((2, 10), 2)}
    rows = {row.split()[0]: row.split()[1:] for row in str(summarise(values)).splitlines()[1:]}
    assert rows["constant"] == ["3.00", "0.00", "3.00", "3.00", "3.00", "20", "20", "-"]
    assert rows["tiny"][0] == "1e-09"
    assert rows["count"][0] == "2.00"


def test_no_draws_and_one_draw():
    assert np.isnan(summarise({"x": np.zeros((2, 0, 3))})["x"]["mean"]).all()
    one = summarise({"x": np.full((1, 1), 4.0)})["x"]
    assert (float(one["mean"]), float(one["50%"])) == (4.0, 4.0)
    assert np.isnan(one["sd"])


def test_a_notebook_shows_a_table_with_names_escaped():
    page = summarise({"a<b": DRAWS[..., 0]}, warnings=("x < y",))._repr_html_()
    assert "<td>a&lt;b</td>" in page
    assert "<p>x &lt; y</p>" in page
    assert page.count("<th>") == len(COLUMNS) + 1


def test_a_site_without_elements_has_no_row():
    table = summarise({"empty": np.zeros((2, 10, 0)), "x": np.linspace(0.0, 1.0, 20).reshape(2, 10)})
    assert list(table.statistics) == ["x"]
    assert "empty" not in str(table)
