"""Fingerprints: equal for the same data in every process, different where a number, a dtype, a name or an order is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from sursum.common.fingerprint import fingerprint


@dataclass
class Rows:
    x: Any
    name: str = "rows"


class Opaque:
    """Written with its address."""


def network(weight: float) -> nn.Module:
    net = nn.Linear(1, 1)
    nn.init.constant_(net.weight, weight)
    nn.init.zeros_(net.bias)
    return net


ONES = torch.ones(2000)
LATE = ONES.clone()
LATE[1000] = 2.0  # which is not written where a tensor is printed

DIFFERENT: dict[str, tuple[Any, Any]] = {
    "number": (ONES, LATE),
    "nested": ([ONES, {"y": (ONES,)}], [ONES, {"y": (LATE,)}]),
    "dataclass": (Rows(ONES), Rows(LATE)),
    "network": (network(1.0), network(2.0)),
    "shape": (ONES, ONES.reshape(40, 50)),
    "dtype": (ONES, ONES.double()),
    "bfloat16": (ONES.bfloat16(), LATE.bfloat16()),
    "sparse": (ONES.to_sparse(), LATE.to_sparse()),
    "gradient": (ONES.clone().requires_grad_(), LATE.clone().requires_grad_()),
    "series": (pd.Series(ONES.numpy()), pd.Series(LATE.numpy())),
    "text": (np.array(["a", "b"]), np.array(["a", "c"])),
    "times": (pd.date_range("2026-01-01", periods=2), pd.date_range("2026-01-02", periods=2)),
    "objects": (np.array(["a", None], dtype=object), np.array(["b", None], dtype=object)),
    "plain": (3, 4),
    "name": ({"x": 1}, {"y": 1}),
    "set": ({"a", "b"}, {"a", "c"}),
    "empty": (torch.zeros(0, 2), torch.zeros(0, 3)),
}


@pytest.mark.parametrize("which", DIFFERENT)
def test_different_data(which: str) -> None:
    one, other = DIFFERENT[which]
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint((one,)) == fingerprint((one,))


def test_the_same_data() -> None:
    assert fingerprint(ONES) == fingerprint(ONES.numpy()) == fingerprint(torch.ones(4000)[::2])
    assert fingerprint(torch.tensor([1j]).conj()) == fingerprint(torch.tensor([complex(0.0, -1.0)]))
    assert fingerprint(Opaque()) == fingerprint(Opaque())

    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other), "a set has the order in which it was filled"
    assert fingerprint(one) == fingerprint(other)
