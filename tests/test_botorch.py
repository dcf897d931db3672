"""BoTorch's SAAS model with draws of ours, against its predictions by our own program, draw by draw."""

from __future__ import annotations

import pytest
import torch

import sursum as su
from tests.support.examples import load

pytest.importorskip("botorch")
pytest.importorskip("jax")  # BoTorch does not make the model without it


@pytest.mark.slow
def test_the_model_predicts_what_the_draws_say(monkeypatch: pytest.MonkeyPatch) -> None:
    example, sparse_gp = load("botorch_saas"), load("sparse_gp")
    data = sparse_gp.measure()
    kept: list[su.Posterior] = []
    run = su.infer.MCMC.run
    monkeypatch.setattr(su.infer.MCMC, "run", lambda self, *args: kept.append(run(self, *args)) or kept[-1])
    model = example.fit(data.x, data.y, draws=16, warmup=50, keep=4)
    with torch.no_grad():
        found = model.posterior(data.x_new[:20])
    mean, sd = sparse_gp.predict({name: kept[0][name][0, ::4] for name in ("rho", "amplitude", "noise", "mean")}, data)
    torch.testing.assert_close(found.mean.squeeze(-1), mean[:, :20], rtol=1e-3, atol=1e-3)
    noise = kept[0]["noise"][0, ::4, None]
    torch.testing.assert_close(found.variance.squeeze(-1), sd[:, :20].square() - noise, rtol=1e-2, atol=1e-3)
