"""What may be passed to Pyro's functions, classes and methods may be passed to those of the same name here."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
import torch

import sursum.compat.pyro as pyro
from sursum.compat.pyro import infer, util
from sursum.compat.pyro.infer import autoguide

MODULES = [
    *("", ".poutine", ".infer", ".infer.autoguide", ".infer.reparam", ".infer.mcmc", ".infer.mcmc.util", ".nn", ".optim"),
    *(".distributions", ".distributions.util", ".ops.stats", ".ops.special", ".ops.tensor_utils", ".util", ".params"),
    *(".contrib.autoname", ".contrib.easyguide"),
]
OWN = {
    # What draws, scores or counts is sursum's.
    *("HMC.", "NUTS.", "EmpiricalMarginal.", "SVI.run", "SVI.marginal", "SVI.information_criterion", "SVI.__call__"),
    *("Importance.", "TracePosterior.", "JitTrace_ELBO.loss_and_surrogate_loss", "HMC", "NUTS"),
    # Reparameterisers are functions of a site.
    *(f"{kind}Reparam." for kind in ("LocScale", "ProjectedNormal", "Split", "StudentT", "Transform", "Circular", "NeuTra")),
    *(
        "AutoGuide.sample_latent",
        "SplitReparam",
        "Messenger.",
        "plate.",
        "AutoGaussian",
        "AutoNormalizingFlow",
        "AutoIAFNormal",
    ),
    # Of families, which are held to formulas: a mean that may be left out, the order of rare options.
    *("Poisson", "DirichletMultinomial", "DiscreteHMM", "GaussianHMM", "NanMaskedMultivariateNormal", "Distribution"),
    *("Distribution.", "Vindex", "energy_score_empirical", "periodic_features", "broadcast_shape", "NonlocalExit", "Delta"),
}
"""Names, or names of classes with a dot for their methods, that take other arguments, or lack a method."""


ANY_NAMES, ANY_NUMBER = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL


def _kinds(call: Any) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        return None


def _misfits(theirs: Any, ours: Any) -> list[str]:
    """Why a call of `theirs` would not be one of `ours`."""
    there, here = _kinds(theirs), _kinds(ours)
    if there is None or here is None:
        return []
    named = {one.name for one in here}
    anything, more = (any(one.kind is kind for one in here) for kind in (ANY_NAMES, ANY_NUMBER))
    known = [one for one in there if one.kind not in (ANY_NAMES, ANY_NUMBER)]
    missing = [f"lacks {one.name}" for one in known if one.name not in named and not anything]
    places = [one.name for one in here if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    order = [one.name for one in known if one.kind is one.POSITIONAL_OR_KEYWORD]
    moved = [f"{a} is {b}" for a, b in zip(order, places, strict=False) if a != b]
    short = [f"no place for {name}" for name in order[len(places) :] if not more]
    wanted = [one for one in here if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD]
    extra = [f"needs {one.name}" for one in wanted if one.name not in order and len(there) == len(known)]
    return [*missing, *moved[:1], *short, *extra]


def _own(name: str) -> bool:
    return name in OWN or f"{name.partition('.')[0]}." in OWN


@pytest.mark.parametrize("module", MODULES)
def test_calls_of_pyros_are_calls_here(module):
    theirs = pytest.importorskip(f"pyro{module}")
    here = importlib.import_module(f"sursum.compat.pyro{module}")
    wrong = {}
    for name in getattr(theirs, "__all__", dir(theirs)):
        one, ours = getattr(theirs, name), getattr(here, name, None)
        if ours is None or not callable(one) or not getattr(one, "__module__", "").startswith("pyro"):
            continue
        if not _own(name) and (found := _misfits(one, ours)):
            wrong[name] = found
        family = inspect.isclass(one) and issubclass(one, torch.distributions.Distribution)
        for method, call in vars(one).items() if inspect.isclass(one) and not family else ():
            full = f"{name}.{method}"
            if inspect.isfunction(call) and not method.startswith("_") and not _own(full):
                ours_too = getattr(ours, method, None)
                found = ["missing"] if ours_too is None else _misfits(call, ours_too)
                if found:
                    wrong[full] = found
    assert wrong == {}


def test_names_of_arguments_are_pyros():
    pyro.clear_param_store()
    assert float(pyro.param("a", init_tensor=torch.tensor(2.0)).detach()) == 2.0
    store = pyro.get_param_store()
    assert float(store.get_param("b", init_tensor=torch.tensor(3.0)).detach()) == 3.0
    assert float(store.setdefault(name="c", init_constrained_value=torch.tensor(4.0)).detach()) == 4.0
    store.replace_param(param_name="c", new_param=torch.tensor(5.0), old_param=store["c"])
    assert float(store["c"].detach()) == 5.0
    assert pyro.params.param_with_module_name(pyro_name="net", param_name="w") == "net$$$w"
    model = lambda: pyro.sample("z", pyro.distributions.Normal(3.0, 1.0))
    assert float(autoguide.AutoDelta(model, autoguide.init_to_mean)()["z"].detach()) == 3.0
    with pytest.warns(UserWarning, match="NaN: here") as caught:
        util.warn_if_nan(torch.tensor(torch.nan), "here", filename="elsewhere.py", lineno=7)
    assert (caught[0].filename, caught[0].lineno) == ("elsewhere.py", 7)
    with pytest.warns(UserWarning, match="an infinity: there") as caught:
        util.warn_if_inf(torch.tensor(torch.inf), "there")
    assert caught[0].filename == __file__
    assert infer.reparam.AutoReparam().centered is None
    pyro.clear_param_store()
