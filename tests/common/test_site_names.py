"""Sites asked for by name: which are chosen, and what is said of one that does not exist."""

from __future__ import annotations

import pytest

from sursum.common.site_names import MOST, chosen_sites, no_site

SITES = {"mu": 0, "tau": 1, "theta": 2}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(None, ["mu", "tau", "theta"]), ("tau", ["tau"]), (("theta", "mu"), ["theta", "mu"]), ([], []), (iter(["mu"]), ["mu"])],
)
def test_names_are_chosen_in_the_order_asked_for(wanted, expected):
    assert chosen_sites(wanted, SITES, "this fit") == expected


@pytest.mark.parametrize("wanted", ["thet", ["mu", "thet"]])
def test_a_name_that_does_not_exist(wanted):
    with pytest.raises(KeyError) as caught:
        chosen_sites(wanted, SITES, "this fit")
    assert caught.value.args == ("no site 'thet' in this fit. Did you mean 'theta'? It has 'mu', 'tau', 'theta'.",)


def test_names_are_listed_once_where_none_is_close():
    assert no_site("zzz", SITES, "these draws").args == ("no site 'zzz' in these draws. It has 'mu', 'tau', 'theta'.",)
    assert no_site("zzz", {}, "these draws").args == ("no site 'zzz' in these draws. It has none.",)


def test_what_is_no_name():
    assert no_site(("mu", 0), SITES, "").args == ("('mu', 0) is not the name of a site: one at a time, as in `draws['mu']`.",)
    assert no_site(3, {}, "").args[0].endswith("as in `draws['name']`.")


def test_many_names_are_cut():
    said = no_site("zzz", dict.fromkeys(map(str, range(MOST)), 0), "it").args[0]
    assert said.endswith(f"'{MOST - 1}'.")
    said = no_site("zzz", dict.fromkeys(map(str, range(MOST + 1)), 0), "it").args[0]
    assert said.endswith(f"'{MOST - 1}', ….")
