"""Integers of fewer than 64 bits wrap in C as they do in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist

NARROW = (torch.int32, torch.int16, torch.int8, torch.uint8, torch.int64)

OPERATORS = {
    "a sum": lambda k: k + k,
    "a sum with a number": lambda k: k + 100,
    "a difference": lambda k: 5 - k,
    "a product": lambda k: k * k * k,
    "a power": lambda k: k**5,
    "the opposite": lambda k: -k,
    "its size": lambda k: (k - 60).abs(),
    "every bit": lambda k: ~k & (k + 3) | 1,
    "smaller ones": lambda k: (k * 1000).to(torch.int8) + (k * 7).to(torch.uint8),
    "larger ones": lambda k: (k * k).long() * 3,
    "a choice": lambda k: torch.where(k > 3, k * k, k + 120) * 2,
    "a sum of all": lambda k: (k * k).sum(dtype=k.dtype) + k,
    "a product of all": lambda k: k.prod(dtype=k.dtype) + k,
    "the largest": lambda k: (k * k).max() + k,
    "a running sum": lambda k: k.cumsum(0, dtype=k.dtype),
    "a comparison": lambda k: (k * k < k).long(),
    "a quotient": lambda k: (k * 50) // 3 + (k * 50) % 7,
    "in place": lambda k: k.clone().mul_(77).add_(k),
    "a part": lambda k: torch.cat([k[:2] * 90, k[2:] + 90]),
    "what is written": lambda k: k.index_put((torch.tensor([1]),), (k * k)[:1]) * 99,
}


@pytest.mark.parametrize("use", OPERATORS.values(), ids=OPERATORS)
def test_they_wrap(use):
    """The density has a term for each dtype, of whole numbers, so that values are equal to the last bit or wrong."""

    def numbers(x):
        whole = (40.0 * x).floor().long()
        return [use(whole.to(dtype)) for dtype in NARROW]

    def model():
        x = su.sample("x", dist.Normal(torch.zeros(5, dtype=torch.float64), 1.0).to_event(1))
        for number, dtype in zip(numbers(x), NARROW, strict=True):
            su.deterministic(str(dtype), number.double())
            su.factor(f"f{dtype}", -((number.double() * 1e-3 - x) ** 2).sum().log1p())

    density = su.compile(model, engine="native")
    eager = su.infer.LogDensity(model)
    rng = np.random.default_rng(0)
    for _ in range(6):
        q = torch.from_numpy(rng.normal(size=5))
        assert density.value_and_grad(q.numpy())[0] == pytest.approx(float(eager(q)), rel=1e-12)


def test_sums_at_computed_places_are_left_to_torch():
    def model():
        x = su.sample("x", dist.Normal(torch.zeros(4, dtype=torch.float64), 1.0).to_event(1))
        counts = torch.zeros(2, dtype=torch.int8).index_add(0, (x > 0).long(), (90.0 * x).to(torch.int32).to(torch.int8))
        su.factor("f", -((counts.double() * 1e-2 - x[:2]) ** 2).sum())

    with pytest.warns(su.errors.EngineWarning, match=r"sums in torch\.int8, which may wrap"):
        density = su.compile(model)
    assert density.engine == "torch"
    q = torch.tensor([1.3, 1.2, -1.4, 0.9], dtype=torch.float64)
    assert density.value_and_grad(q.numpy())[0] == pytest.approx(float(su.infer.LogDensity(model)(q)), rel=1e-12)
