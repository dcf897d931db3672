"""The gradient of a density is its derivative, also where a backward operator of torch leaves something out on purpose."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import sursum as su
import sursum.distributions as dist
from sursum.common.precision import enforce_double
from sursum.compiler.capture.capture import Capture
from sursum.compiler.capture.derivatives import ExactDerivatives

TOKENS = torch.tensor([[1, 2, 0], [3, 0, 0]])


@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("settings", [{"padding_idx": 0}, {"scale_grad_by_freq": True}])
def test_every_row_of_an_embedding_has_its_derivative(engine: str, settings: dict[str, object]) -> None:
    """log p = -w²/2 - (Σ rows)²/2, so that the slope of row k is -w_k - c_k·(sum of its observation)."""

    def model() -> None:
        w = su.sample("w", dist.Normal(torch.zeros(4, 1, dtype=torch.float64), 1.0).to_event(2))
        rows: Tensor = functional.embedding(TOKENS, w, **settings)  # type: ignore[arg-type]
        su.factor("f", -0.5 * rows.sum((1, 2)).square().sum())

    q = np.array([0.3, -0.2, 0.5, 1.0])
    counts = np.array([[1.0, 1.0, 1.0, 0.0], [2.0, 0.0, 0.0, 1.0]])
    found = su.compile(model, engine=engine).value_and_grad(q)[1]
    assert found == pytest.approx(-q - counts.T @ (counts @ q), abs=1e-12)


@pytest.mark.parametrize("tokens", [False, True], ids=["doubles", "embedding"])
def test_a_run_beside_the_recording_has_the_bits_of_its_gradient(tokens: bool) -> None:
    """Without our modes where they change nothing; an embedding, which leaves out what is padded, needs them."""

    def program(q: Tensor) -> Tensor:
        rows = functional.embedding(TOKENS, q.reshape(4, 1), padding_idx=0) if tokens else q.exp() * 0.1
        return -((rows.sum() - q.tanh().sum()) ** 2)

    points = torch.linspace(0.1, 0.4, 4, dtype=torch.float64), torch.linspace(-1.0, 2.0, 4, dtype=torch.float64)
    recording = Capture(program, points, gradient=True)
    value, slope = recording.run_at(points[1])
    assert torch.equal(value, recording.found[1][0])
    assert torch.equal(slope, recording.found[1][1])


@pytest.mark.parametrize(
    ("program", "needed"),
    [
        (lambda q: (q * 2.0).exp().sum(), False),
        (lambda q: torch.where(q > 0, q, torch.stack([q, q])[0]).sum(), False),
        (lambda q: functional.embedding(TOKENS, q[:, None]).sum(), True),
        (lambda q: (q.float() * 2).sum(), True),
        (lambda q: q[torch.tensor([0, 1])].sum(), False),
        (lambda q: q.index_select(0, torch.tensor([0, 1])).sum(), True),
    ],
)
def test_what_is_not_of_doubles_alone_is_noticed(program: Callable[[Tensor], Tensor], needed: bool) -> None:
    derivatives = ExactDerivatives()
    with enforce_double(derivatives):
        program(torch.linspace(0.1, 0.4, 4, dtype=torch.float64).requires_grad_())
    assert derivatives.is_needed == needed
