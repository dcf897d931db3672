"""The public names."""

import inspect
import re
import sys
from collections import defaultdict

import pytest
import torch

import sursum as su

PUBLIC = {
    "su": {
        *("sample", "param", "plate", "deterministic", "factor", "scan", "odeint", "module", "random_module", "subsample"),
        *(
            "lift",
            "logp",
            "markov",
            "ops",
            "reprior",
            "report",
            "render",
            "Rendering",
            "priors",
            "handlers",
            "poutine",
            "distributions",
            "infer",
            "cluster",
            "distributed",
            "compile",
            "gp",
            "check",
            "ops",
            "optim",
            "Benchmark",
            "Draws",
            "GradientCheck",
            "Report",
            "Summary",
        ),
        *("trace", "replay", "condition", "uncondition", "substitute", "do", "block", "mask", "scale", "scope", "seed"),
        "reparam",
        *(
            "ParamStore",
            "Trace",
            "Posterior",
            "CompiledDensity",
            "enable_validation",
            "validation_enabled",
            "is_validation_enabled",
        ),
    },
    "su.cluster": {"Local", "Lost", "Ray", "Workers"},
    "su.distributed": {"Sharded", "shard"},
    "su.infer": {
        *("HMC", "MCMC", "NUTS", "WALNUTS", "DiscreteGibbs", "Run", "Interrupted", "LogDensity", "Progress", "reparam"),
        *("Until", "ess", "rhat", "minutes"),
        *("SGMCMC", "SGLD", "SGHMC", "SGNHT", "SWAG", "DeepEnsemble", "MCDropout"),
        *("Fit", "FitResult", "Laplace", "Pathfinder", "Importance", "ImportanceSamples"),
        *("Predictive", "Prediction", "ModuleEnsemble", "log_likelihood", "log_prior", "PriorSensitivity", "SBC", "SBCResult"),
        *("Ladder", "LadderResult", "Rung", "ReparamSearch", "ReparamChoice", "Pilot", "SiteChoice"),
        *("compare", "Comparison", "loo_pit", "LooPit", "reliability", "coverage", "Calibrated", "Recovery", "RecoveryResult"),
        *("many", "cross_validate", "CrossValidation", "Study", "StudyFailure", "StudyInterrupted"),
        *("SVI", "SVIResult", "ELBO", "EarlyStopping", "Trace_ELBO", "TraceMeanField_ELBO", "RenyiELBO", "autoguide"),
        *("TraceEnum_ELBO", "config_enumerate", "infer_discrete", "discrete_probabilities"),
    },
    "su.ops": {
        *("gammainc", "gammaincc", "log_gammainc", "log_gammaincc", "betainc", "betaincc", "log_betainc", "log_betaincc"),
        *("student_t_cdf", "log_student_t_cdf", "log_normal_cdf", "betaln", "log_binomial", "log1mexp", "logsubexp"),
        "external",
        *("Vindex", "vindex"),
    },
    "su.gp": {
        *(
            "Kernel",
            "RBF",
            "Matern12",
            "Matern32",
            "Matern52",
            "RationalQuadratic",
            "Periodic",
            "Cosine",
            "Linear",
            "Polynomial",
        ),
        *("Constant", "White", "marginal", "latent", "conditional", "fitc", "titsias", "Titsias", "sparse_conditional"),
        *("hilbert", "hilbert_basis", "periodic", "periodic_basis"),
    },
    "su.handlers": {
        *("trace", "replay", "condition", "uncondition", "substitute", "do", "block", "mask", "scale", "scope", "seed"),
        *(
            "lift",
            "markov",
            "config_enumerate",
            "reprior",
            "reparam",
            "plate",
            "random_module",
            "ParamStore",
            "LocScaleReparam",
            "TransformReparam",
            "Reparam",
        ),
        *("Messenger", "handler", "perform", "Trace"),
        *("Site", "Sample", "Param", "Deterministic", "Factor", "Frame", "Step"),
    },
}

FACE = {
    "su": su,
    "su.cluster": su.cluster,
    "su.distributed": su.distributed,
    "su.infer": su.infer,
    "su.gp": su.gp,
    "su.ops": su.ops,
    "su.handlers": su.handlers,
}

PYRO_NAMES = [name for name in su.handlers.__all__ if name.endswith("Messenger") and name != "Messenger"]


@pytest.mark.parametrize("where", PUBLIC)
def test_the_public_list_is_what_is_there(where):
    module = {
        "su": su,
        "su.cluster": su.cluster,
        "su.distributed": su.distributed,
        "su.infer": su.infer,
        "su.gp": su.gp,
        "su.ops": su.ops,
        "su.handlers": su.handlers,
    }[where]
    listed = set(module.__all__) - set(PYRO_NAMES)
    assert listed == PUBLIC[where]
    assert all(hasattr(module, name) for name in module.__all__)
    assert sorted(set(module.__all__)) == sorted(module.__all__)


def test_guides_are_listed():
    kinds = {"Delta", "Normal", "DiagonalNormal", "MultivariateNormal", "LowRankMultivariateNormal", "LaplaceApproximation"}
    dependent = {"Structured", "Gaussian", "HierarchicalNormal", "Regressive"}
    listed = {name for name in su.infer.autoguide.__all__ if name.startswith("Auto")}
    assert listed == {f"Auto{kind}" for kind in (*kinds, "NormalizingFlow", "IAFNormal", "Guide", "GuideList", *dependent)}


def test_poutine_is_the_handlers():
    assert all(getattr(su.poutine, name) is getattr(su.handlers, name) for name in su.handlers.__all__)


INTERNAL = {
    *("Function", "Graph", "Instance", "NativeFunction", "Replay", "Sites"),  # parts of a CompiledDensity
    *("Keep", "StoreRecorder", "Schedule", "ChainPool", "Hints", "Seen"),  # parts of a Run
    *("Cost", "PriorPredictive"),  # what a Report computes on request
    *("Row", "SiteSlope", "Smoothed"),  # rows of a Report and of a GradientCheck, weights of ImportanceSamples
    *("Ledger", "_NeutraRun", "JointGuide", "Sampled", "Table", "Program", "Refit"),
    "Momentum",  # the state of a chain of SGMCMC
    *("Pair", "Place"),  # what bounds and guides of the project's own are given
}
"""Classes that are named in signatures, and that nobody has to write."""

FACES = [
    su,
    su.cluster,
    su.distributed,
    su.infer,
    su.handlers,
    su.optim,
    su.distributions,
    su.infer.autoguide,
    su.infer.reparam,
]


def annotations():
    """The annotations of what is public, as text, and where each is."""
    for face in FACES:
        for name in face.__all__:
            thing = getattr(face, name)
            members = [(name, thing)]
            if inspect.isclass(thing):
                shown = {key: value for key, value in vars(thing).items() if not key.startswith("_") or key == "__call__"}
                members += [
                    (f"{name}.{key}", getattr(value, "fget", None) or getattr(value, "func", value))
                    for key, value in shown.items()
                ]
                yield from ((f"{name}.{key}", of) for key, of in vars(thing).get("__annotations__", {}).items() if key in shown)
            for where, member in members:
                try:
                    signature = inspect.signature(member)
                except (TypeError, ValueError):
                    continue
                yield where, signature.return_annotation
                yield from ((where, parameter.annotation) for parameter in signature.parameters.values())


def test_classes_of_public_signatures_are_public():
    """Whoever annotates what a public function takes or gives can write the name."""
    public = {id(getattr(face, name)) for face in FACES for name in face.__all__}
    ours = defaultdict(set)  # two modules may have a class of the same name
    for path, module in list(sys.modules.items()):
        if path.startswith("sursum") and not path.startswith("sursum.compat"):
            for name, thing in vars(module).items():
                if inspect.isclass(thing) and thing.__module__.startswith("sursum"):
                    ours[name].add(id(thing))
    needed = {
        (word, where)
        for where, text in annotations()
        if isinstance(text, str)
        for word in re.findall(r"[A-Za-z_]\w*", text)
        if word in ours and not ours[word] & public
    }
    assert {pair for pair in needed if pair[0] not in INTERNAL} == set()


@pytest.mark.parametrize("name", PYRO_NAMES)
def test_messenger_names_are_names_of_the_same_classes(name):
    verb = name.removesuffix("Messenger").lower()
    assert getattr(su.handlers, name) is getattr(su.handlers, verb)


def test_distributions_have_everything_of_torch():
    theirs = {
        name
        for name, cls in vars(torch.distributions).items()
        if inspect.isclass(cls) and issubclass(cls, torch.distributions.Distribution)
    }
    # The exponential family is an abstract base class.
    assert theirs - {"ExponentialFamily"} <= set(su.distributions.__all__)
    constraints = set(torch.distributions.constraints.__all__)
    assert constraints - set(su.distributions.constraints.__all__) <= {"MixtureSameFamilyConstraint"}
    assert su.distributions.transforms is torch.distributions.transforms


@pytest.mark.parametrize("module", [su, su.infer, su.handlers, su.distributions], ids=lambda m: m.__name__)
def test_every_public_name_says_what_it_is(module):
    theirs = {"transforms"}
    for name in set(module.__all__) - theirs:
        assert inspect.getdoc(getattr(module, name)), name
