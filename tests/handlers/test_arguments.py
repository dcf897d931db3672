"""What a handler is given and cannot use is an error of ours, and a TypeError as Python users expect."""

import pytest
import torch

import sursum as su
from sursum.errors import OptionError, SursumError

ROWS = [
    (lambda: su.condition(data=3), "condition needs a mapping from names to values, but got 3"),
    (lambda: su.lift(lambda: None), r"lift needs `prior`: lift\(model, prior=…\)"),
    (lambda: su.mask(mask=torch.ones(2)), r"mask needs a boolean tensor, not torch\.float32: write mask\.bool\(\)"),
    (lambda: su.mask(mask="yes"), "mask needs a boolean tensor or a bool, not 'yes'"),
    (lambda: su.block(hide="mu"), r"block needs a collection of names, not the string 'mu': write hide=\['mu'\]"),
    (lambda: su.trace().get_trace(), r"this trace has no program: write trace\(model\)\.get_trace"),
    (lambda: su.scale(scale=2.0)(3), "this scale has no program yet"),
    (lambda: su.reprior(lambda: None, priors={}), r"`reprior` has no option `priors`\. Write `prior=`"),
]


@pytest.mark.parametrize(("make", "said"), ROWS, ids=[row[1] for row in ROWS])
def test_it_is_an_error_of_ours(make, said):
    with pytest.raises(OptionError, match=said) as caught:
        make()
    assert isinstance(caught.value, SursumError)
    assert isinstance(caught.value, TypeError)
