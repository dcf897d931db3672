"""`lift`: parameters become latent sites, from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from torch import nn
from torch.distributions import Distribution

from sursum.common.other_libraries import answers
from sursum.common.patterns import lookup, matches
from sursum.common.settings import check_setting
from sursum.common.user_frame import warn
from sursum.core.messages import Deterministic, Param, Sample, Site
from sursum.core.module import Forward
from sursum.core.runtime import Messenger, P, R, handler, perform, required
from sursum.errors import OptionError, UnusedPriorWarning
from sursum.handlers.lift.constrained import view_of
from sursum.handlers.lift.fit import check_answer
from sursum.handlers.lift.resolve import Prior, check_kind
from sursum.handlers.lift.site import again, derived, make_initial, propose
from sursum.handlers.unused import find_unused

_UNREAD = "no parameter of that name was read"
_CALL = " A network's parameters are read where the program calls it through su.module(name, net)."
_FROZEN = "it names frozen parameters (requires_grad=False). To lift those as well, write lift(…, frozen=True)."
_INSIDE = "an inner lift already gives this parameter a prior. To replace that prior, write reprior(…)."


@answers("priors by parameter name are one mapping, `lift(model, prior={'{}': …})`", priors="prior", dist="prior")
@handler
class lift(Messenger[P, R]):
    r"""Draw parameters from priors: a program with parameters θ becomes one with :math:`p(y, θ) = p(y \mid θ)\,p(θ)`.

    Args:
        fn: the program, or an `nn.Module`, whose parameters then keep their own dotted names.
        prior: a `Distribution` for every parameter; or a mapping from names or patterns (``*`` one dotted segment,
            ``**`` any number; an exact name wins, else the first that matches) to distributions or callables; or a
            callable for every parameter. A callable gets the parameter's current value and, by keyword where it takes
            them, ``name``, ``constraint`` and ``event_dim``; it may call `sample` itself, which makes the prior
            hierarchical, and returns a `Distribution`, a tensor (an unscored draw) or None (leave it a parameter).
        frozen: lift a network's parameters with ``requires_grad=False`` as well.
        on: "parameter", or "constrained": parameters of GPyTorch's modules are lifted as the values that they stand for,
            ``lengthscale`` instead of ``raw_lengthscale``, by these names. A prior of bounded values that reaches beyond the
            constraint is truncated to it; `su.priors.registered` is the prior that the module has registered.

    Raises:
        PriorTypeError: something that is not a prior, or cannot be cast to the parameter's dtype.
        PriorShapeError: a prior that does not expand to the parameter's shape.
        PriorSupportError: a prior whose support is not inside the parameter's constraint.
        OptionError: an `on` that does not exist.

    Warns:
        UnusedPriorWarning: a key matched no parameter, or only parameters taken by an earlier key or an inner lift.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model(x):
        ...     s = su.param("s", torch.tensor(0.5))
        ...     return su.sample("z", dist.Normal(x, s)) ** 2
        >>> lifted = su.poutine.lift(model, prior={"s": dist.Exponential(0.3)})
        >>> su.poutine.trace(lifted).get_trace(0.0).nodes["s"]["type"]
        'sample'
    """

    prior: Prior = required()
    frozen: bool = False
    on: str = "parameter"

    answers: dict[str, Site] = field(init=False, repr=False, default_factory=dict)
    hypers: dict[str, tuple[Site, Site]] = field(init=False, repr=False, default_factory=dict)
    met: dict[str, str] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kind(self.prior)
        check_setting("on", self.on in ("parameter", "constrained"), self.on, "'parameter' or 'constrained'", OptionError, "")
        if isinstance(self.fn, nn.Module):
            self.fn = Forward(self.fn)

    def handle(self, site: Site) -> Any:
        if isinstance(site, (Sample, Deterministic)) and site.param is not None:
            self.met.setdefault(site.param.name, _INSIDE)
        if not isinstance(site, Param):
            return perform(site)
        if site.value is None and site.name in self.answers:
            return again(self.answers[site.name], site)
        view = view_of(site) if self.on == "constrained" else None
        asked = site if view is None else view.param
        frozen = site.frozen and not self.frozen
        self.met[asked.name] = _FROZEN if frozen else ""
        found: tuple[str | None, Any] | None = (None, self.prior)
        if isinstance(self.prior, Mapping):
            found = lookup(self.prior, asked.name)
        if found is None or frozen or site.value is not None:  # one that an inner handler has given a value keeps it
            return perform(site)
        proposed = propose(make_initial(asked), *found, self.hypers, view)
        if proposed is None:
            return perform(site)
        answer = perform(proposed) if isinstance(proposed, Sample) else proposed
        check_answer(answer, asked)
        if view is not None:
            answer = perform(derived(answer, site, view))
        self.answers[site.name] = answer
        return answer

    def finish(self) -> None:
        """Warn about priors that were not used."""
        if isinstance(self.prior, Mapping):
            for key, why in find_unused(self, self.prior, [name for name, left in self.met.items() if not left], _UNREAD):
                left = next((left for name, left in self.met.items() if left and matches(key, name)), why)
                # A dotted name is a network's.
                call = _CALL if "." in key and left.startswith(_UNREAD) and not any("." in name for name in self.met) else ""
                warn(f"the prior for {key!r} was not used: {left}{call}", UnusedPriorWarning)
        elif isinstance(self.prior, Distribution) and set(self.met.values()) == {_INSIDE} and self.note(""):
            warn(f"the prior {type(self.prior).__name__} was not used: {_INSIDE}", UnusedPriorWarning)
