"""Pyro's inference: SVI and its bounds, MCMC, predictions, importance sampling, automatic guides, reparameterisers.

Imports sursum's public names, `poutine`, `optim` and the store.
"""

from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.infer import autoguide, mcmc, reparam, util
from sursum.compat.pyro.infer.elbo import (
    ELBO,
    JitTrace_ELBO,
    JitTraceGraph_ELBO,
    JitTraceMeanField_ELBO,
    RenyiELBO,
    Trace_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
)
from sursum.compat.pyro.infer.enum import JitTraceEnum_ELBO, TraceEnum_ELBO, TraceTMC_ELBO, config_enumerate, infer_discrete
from sursum.compat.pyro.infer.importance import EmpiricalMarginal, Importance, TracePosterior
from sursum.compat.pyro.infer.mcmc import HMC, MCMC, NUTS
from sursum.compat.pyro.infer.predictive import Predictive
from sursum.compat.pyro.infer.svi import SVI
from sursum.compat.pyro.infer.util import enable_validation, is_validation_enabled

__all__ = [
    "ELBO",
    "HMC",
    "MCMC",
    "NUTS",
    "SVI",
    "EmpiricalMarginal",
    "Importance",
    "JitTraceEnum_ELBO",
    "JitTraceGraph_ELBO",
    "JitTraceMeanField_ELBO",
    "JitTrace_ELBO",
    "Predictive",
    "RenyiELBO",
    "TraceEnum_ELBO",
    "TraceGraph_ELBO",
    "TraceMeanField_ELBO",
    "TracePosterior",
    "TraceTMC_ELBO",
    "Trace_ELBO",
    "autoguide",
    "config_enumerate",
    "enable_validation",
    "infer_discrete",
    "is_validation_enabled",
    "mcmc",
    "reparam",
    "util",
]

MISSING = {
    "CSIS": "fit the guide by SVI, and write Importance",
    "EnergyDistance": "write a density for the data",
    "IMQSteinKernel": "write NUTS, or SVI with an automatic guide",
    "MHResampler": "write NUTS(model)",
    "RBFSteinKernel": "write NUTS, or SVI with an automatic guide",
    "RandomWalkKernel": "write NUTS(model)",
    "ReweightedWakeSleep": "write RenyiELBO(alpha=0), the importance-weighted bound",
    "SMCFilter": "sum the states out, su.scan, or write Importance",
    "SVGD": "write NUTS, or SVI with an automatic guide",
    "TracePredictive": "write Predictive(model, posterior_samples)",
    "TraceTailAdaptive_ELBO": "write RenyiELBO(alpha=…)",
    "Trace_MMD": "write a density for the data",
    "WeighedPredictive": "su.infer.Importance gives weighted draws",
    "inspect": "su.report shows what a program samples, observes and is called with",
    "resampler": "write Importance, and resample",
}

__getattr__ = refusing("pyro.infer", __all__, MISSING)
