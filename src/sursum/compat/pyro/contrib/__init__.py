"""Of Pyro's contrib: `autoname.scope` and `easyguide`.

Imports sursum's public names.
"""

from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.contrib import autoname, easyguide

__all__ = ["autoname", "easyguide"]

MISSING = {
    "bnn": "su.lift(net, prior) makes any network Bayesian",
    "cevae": "write the model",
    "conjugate": "write the model",
    "epidemiology": "write the model, with su.scan",
    "examples": "load the data by torchvision",
    "forecast": "write the model, with su.scan",
    "funsor": "discrete sites are summed out by sursum itself",
    "gp": "sursum takes GPyTorch's kernels",
    "minipyro": "write pyro itself",
    "mue": "write the model",
    "oed": "write the estimator",
    "randomvariable": "write pyro.sample",
    "timeseries": "write the model, with su.scan",
    "tracking": "write the model",
    "util": "write torch's functions",
    "zuko": "write AutoNormalizingFlow(model, flow=…)",
}

__getattr__ = refusing("pyro.contrib", __all__, MISSING)
