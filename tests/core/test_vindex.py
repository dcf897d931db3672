"""`vindex`: indexing by broadcasting, against indexing element by element."""

import itertools

import pytest
import torch

import sursum as su
from sursum.errors import ArgumentError

TABLE = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)


@pytest.mark.parametrize("kinds", list(itertools.product(["index", "slice", "int"], repeat=4)))
def test_every_element_is_that_of_its_indices(kinds):
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 1), (7,), (6, 7), ()]
    parts = []
    for size, kind, shape in zip(TABLE.shape, kinds, shapes, strict=True):
        drawn = torch.randint(size, shape, generator=generator)
        parts.append(drawn if kind == "index" else slice(None) if kind == "slice" else 1)
    found = su.ops.vindex(TABLE)[tuple(parts)]
    batch = torch.broadcast_shapes(*(part.shape for part in parts if isinstance(part, torch.Tensor)))
    kept = [size for size, kind in zip(TABLE.shape, kinds, strict=True) if kind == "slice"]
    assert found.shape == (*batch, *kept)
    wide = [part.expand(batch) if isinstance(part, torch.Tensor) else part for part in parts]
    for place in itertools.product(*map(range, batch)):
        one = tuple(int(part[place]) if isinstance(part, torch.Tensor) else part for part in wide)
        assert torch.equal(found[place], TABLE[one])


def test_leading_dimensions_are_indexed_by_their_own_elements():
    k = torch.randint(5, (3, 4), generator=torch.Generator().manual_seed(1))
    found = su.ops.vindex(TABLE)[..., k]
    for a, b, c in itertools.product(range(2), range(3), range(4)):
        assert found[a, b, c] == TABLE[a, b, c, k[b, c]]
    assert torch.equal(su.ops.Vindex(TABLE)[..., 2], TABLE[..., 2])
    values = torch.arange(5).reshape(5, 1, 1, 1)
    assert torch.equal(su.ops.vindex(TABLE, (..., values)), TABLE.movedim(-1, 0))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ((0, 0, 0, 0, 0), "got 5 indices"),
        ((0, ...), r"only first"),
        ((slice(1), 0), r"takes `:` as its only slice"),
        ((torch.tensor(1.0),), r"index 0 of vindex is a tensor of torch.float32.*k.long\(\)"),
        (("a",), "a str"),
    ],
)
def test_what_is_no_index(index, message):
    with pytest.raises(ArgumentError, match=message):
        su.ops.vindex(TABLE)[index]
