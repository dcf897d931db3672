"""Four linear regressions: one program with coefficients and a standard deviation as parameters, and four sets of priors."""

from __future__ import annotations

import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from benchmarks.posteriordb.case import Case, Data
from sursum.distributions import constraints


def regression(design: Tensor, y: Tensor | None = None) -> None:
    """The program: least squares, its coefficients (P,) for a design (N, P) and the residuals' sd."""
    beta = su.param("beta", torch.zeros(design.shape[1], dtype=design.dtype))
    sigma = su.param("sigma", torch.ones((), dtype=design.dtype), constraint=constraints.positive)
    with su.plate("row", len(design)):
        su.sample("y", dist.Normal(design @ beta, sigma), obs=y)


def earnings(data: Data) -> tuple[Tensor, Tensor]:
    """Log earnings on height in inches and sex."""
    return _columns(data["height"], data["male"]), data["earn"].log()


def kidiq(data: Data) -> tuple[Tensor, Tensor]:
    """A child's score on the mother's schooling and IQ, and their product."""
    school, iq = data["mom_hs"], data["mom_iq"]
    return _columns(school, iq, school * iq), data["kid_score"]


def mesquite(data: Data) -> tuple[Tensor, Tensor]:
    """Log leaf weight of mesquite bushes on logs of their volume, area, shape and height, and on the group."""
    area = (data["diam1"] * data["diam2"]).log()
    volume, shape = area + data["canopy_height"].log(), (data["diam1"] / data["diam2"]).log()
    return _columns(volume, area, shape, data["total_height"].log(), data["group"]), data["weight"].log()


def sblrc(data: Data) -> tuple[Tensor, Tensor]:
    """Simulated; the columns are nearly collinear, and there is no intercept."""
    return data["X"], data["y"]


def _columns(*predictors: Tensor) -> Tensor:
    return torch.stack([torch.ones_like(predictors[0]), *predictors], dim=1)


KIDIQ_PRIORS = {"beta": su.priors.flat, "sigma": dist.HalfCauchy(2.5)}
SBLRC_PRIORS = {"beta": dist.Normal(0.0, 10.0), "sigma": dist.HalfNormal(10.0)}
FLAT = su.lift(regression, su.priors.flat)

CASES = [
    Case("earnings-logearn_height_male", FLAT, earnings, draws=10000),
    Case("kidiq-kidscore_interaction", su.lift(regression, KIDIQ_PRIORS), kidiq, draws=10000),
    Case("mesquite-logmesquite_logvash", FLAT, mesquite, draws=5000),
    Case("sblrc-blr", su.lift(regression, SBLRC_PRIORS), sblrc, draws=5000),
]
