"""Which sites a run keeps: names and patterns, in the order of the program."""

from __future__ import annotations

import pytest

from sursum.errors import SamplingError
from sursum.mcmc.site_filter import Keep

SITES = ["mu", "tau", "net.0.weight", "net.0.bias", "net.2.weight"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (None, SITES),
        ((), []),
        (("tau", "mu"), ["mu", "tau"]),
        (("net.*.weight",), ["net.0.weight", "net.2.weight"]),
        (("net.**", "net.0.bias", "mu"), ["mu", "net.0.weight", "net.0.bias", "net.2.weight"]),
        (("*",), ["mu", "tau"]),
    ],
)
def test_names(patterns, expected):
    assert Keep(patterns).names(iter(SITES)) == expected


@pytest.mark.parametrize("patterns", [("tua",), ("mu", "tua")])
def test_a_name_of_none(patterns):
    with pytest.raises(SamplingError, match=r"`keep` names 'tua', which is not a site of the program\. Did you mean 'tau'"):
        Keep(patterns).names(SITES)
    with pytest.raises(SamplingError, match="There are none"):
        Keep(("*",)).names([])
