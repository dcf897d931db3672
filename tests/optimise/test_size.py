"""What is too large for a whole matrix is said before any work, and showing a fit takes none."""

from __future__ import annotations

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import OptimisationError
from sursum.optimise import fit_result
from sursum.optimise.size import check_size


def test_the_bound() -> None:
    check_size(8000)
    with pytest.raises(OptimisationError, match=r"8001 unknowns, whose whole matrix would take 0\.512 GB"):
        check_size(8001)


@pytest.mark.filterwarnings("ignore::sursum.errors.ObservationWarning")
def test_showing_a_large_fit_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def large(n: int) -> su.infer.FitResult:
        return su.infer.Fit(lambda: (su.sample("w", dist.Normal(torch.ones(n), 1.0).to_event(1)), None)[1]).run()

    fit = large(30_000)
    with monkeypatch.context() as patch:
        patch.setattr(fit_result, "curvature", lambda *args: pytest.fail("the Hessian was computed"))
        assert "There are no standard errors of 30000 values: their matrix would take 7.2 GB." in repr(fit)
    with pytest.raises(OptimisationError, match="30000 unknowns"):
        _ = fit.standard_errors
    fit = large(101)
    assert "Standard errors of 101 values take 606 gradients: `fit.standard_errors` computes them." in repr(fit)
    torch.testing.assert_close(fit.standard_errors["w"], torch.ones(101, dtype=torch.float64))
    assert "take 606 gradients" not in repr(fit)
