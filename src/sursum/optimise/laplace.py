"""`Laplace`: the Gaussian with the posterior's mode and curvature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from sursum.common.other_libraries import answers
from sursum.common.patterns import suggestion
from sursum.common.reprs import call_text
from sursum.common.settings import settle, whole_number
from sursum.common.shown import abbreviate
from sursum.compiler.compiled import CompiledDensity, compile_density
from sursum.compiler.scan import rolled
from sursum.density.log_density import LogDensity
from sursum.density.unobserved import announce_empty, announce_unobserved
from sursum.distributed.ranks import led
from sursum.distributions.randomness import global_seed
from sursum.draws.psis import pareto_k
from sursum.errors import OptimisationError
from sursum.optimise.approximation import as_posterior, log_densities
from sursum.optimise.checks import check_settings
from sursum.optimise.curvature import Curvature, curvature
from sursum.optimise.evaluator import evaluator
from sursum.optimise.fit import NUM_STEPS, describe, start_point
from sursum.optimise.ggn.approximate import LayerBatches, approximate, latent_values
from sursum.optimise.maximise import Maximum, maximise
from sursum.optimise.size import check_size
from sursum.posterior.assemble import Subject, assemble, draws_of
from sursum.posterior.init import Init
from sursum.posterior.posterior import Posterior

LOG_2PI = float(np.log(2.0 * np.pi))

_CHOICES = {
    "hessian": ("exact", "ggn", "empirical_fisher"),
    "structure": ("full", "kron", "diag"),
    "shared_weights": ("expand", "reduce"),
}


@answers(
    draws="num_samples",
    num_draws="num_samples",
    n_samples="num_samples",
    random_seed="seed",
    rng_seed="seed",
    rng_key="a seed is a whole number here: `seed=0`",
    inits="init",
    initvals="init",
    init_params="init",
    start="init",
    optim="the mode is found by L-BFGS and Newton's method",
    hessian_structure="structure",
    subset_of_weights="lift the parameters that are to be drawn, `su.lift(model, {'net.4.*': prior})`, or give `subnetwork=`",
    prior_precision="it is that of the prior in `su.lift(model, prior)`",
    likelihood="it is the program's observed site",
)
@dataclass(frozen=True, repr=False)
class Laplace:
    r"""Laplace's approximation of the posterior, in unconstrained coordinates q.

    .. math:: q \sim N(\hat q, A^{-1}), \qquad \hat q = \operatorname{argmax}_q \log p(q), \qquad
              A \approx -\nabla^2 \log p(\hat q)

    where :math:`\log p(q)` includes the log-Jacobians of the supports, as samplers see it. The matrix A is one of

    - "exact": the Hessian, from fourth-order differences of the compiled gradient (6 n gradients), exact to about 1e-12;
    - "ggn": the generalised Gauss–Newton matrix :math:`\sum_i J_i^T F_i J_i` of the observations, with the Fisher information
      F of their distributions and the Jacobian J of the distributions' tensors, and the Hessian of the prior. It is
      positive definite wherever the network was trained to, and the Hessian itself for generalised linear models;
    - "empirical_fisher": :math:`\sum_i g_i g_i^T`, with the gradient of each row's log likelihood, and the same prior.

    The last two keep all of A ("full"), its diagonal ("diag"), or for each linear layer and convolution a Kronecker product
    of a matrix of its outputs and one of its inputs ("kron"), with one block for all other unknowns. A data loader may take
    the place of the data: its batches are the program's arguments, and the curvature is summed over them. What was not lifted,
    such as all but the last layer, is evaluated once for each row. Where all sites are discrete and summed out nothing is
    approximated: `log_evidence` is exact, and `infer_discrete` draws from the posterior.

    Args:
        model: the program. Parameters that are not lifted are held at their value.
        hessian: as above; None is "ggn" where parameters of a network are lifted, and otherwise "exact".
        structure: "full", at most 8,000 unknowns; "kron" or "diag".
        shared_weights: for "kron", how a layer that is applied at several places of a row, as a convolution is, counts them:
            "expand" as rows of their own, or "reduce" as one row.
        subnetwork: keep this many of the unknowns, those of largest variance by the diagonal, with their whole matrix, and hold
            the others.
        num_samples: independent draws, as one chain.
        seed: an integer of at least 0; None takes one from torch's global generator, which is otherwise left alone.
        init: where the search for the mode starts, as for `Fit`.
        num_steps: the maximum number of steps of that search; 0, which "exact" does not allow, takes the point as it is. None
            is 1000, and for "ggn" and "empirical_fisher" 0 above 5,000 unknowns and with a data loader.
        engine: "native" or "torch", for the search; None is the fastest available.

    Raises:
        OptimisationError: an invalid setting.

    References:
        Tierney, Kadane (1986), Accurate approximations for posterior moments and marginal densities, JASA 81.
        Ritter, Botev, Barber (2018), A scalable Laplace approximation for neural networks, ICLR.
        Daxberger et al. (2021), Laplace redux – effortless Bayesian deep learning, NeurIPS.
        Eschenhagen et al. (2023), Kronecker-factored approximate curvature for modern neural network architectures, NeurIPS.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> posterior = su.infer.Laplace(model, seed=0).run(torch.tensor([1.0, 2.0, 3.0]))
        >>> round(float(posterior["mu"].mean()), 1), round(float(posterior["mu"].std()), 1)
        (1.5, 0.5)
        >>> round(posterior.log_evidence, 4)
        -5.95
    """

    model: Callable[..., Any]
    hessian: str | None = field(default=None, kw_only=True)
    structure: str = field(default="full", kw_only=True)
    shared_weights: str = field(default="expand", kw_only=True)
    subnetwork: int | None = field(default=None, kw_only=True)
    num_samples: int = field(default=1000, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    init: Init = field(default=None, kw_only=True)
    num_steps: int | None = field(default=None, kw_only=True)
    engine: str | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        check_settings(self, num_samples=1000)
        for name, known in _CHOICES.items():
            given = getattr(self, name)
            if given not in known and not (given is None and name == "hessian"):
                raise OptimisationError(
                    f"`{name}` is {abbreviate(given)}, but must be one of {', '.join(map(repr, known))}."
                    f"{suggestion(given, known) if isinstance(given, str) else ''}"
                )
        if self.subnetwork is not None:
            least = whole_number("subnetwork", self.subnetwork, 1, OptimisationError, "a number of unknowns")
            settle(self, {"subnetwork": least})
        if self.num_steps is not None:
            least = 0 if self.hessian in ("ggn", "empirical_fisher") else 1
            steps = whole_number("num_steps", self.num_steps, least, OptimisationError, f"{NUM_STEPS} is usual")
            settle(self, {"num_steps": steps})
        if self.hessian == "exact" and (self.structure != "full" or self.subnetwork is not None):
            raise OptimisationError(
                'a `structure` or a `subnetwork` needs `hessian="ggn"` or "empirical_fisher", but `hessian` is "exact".'
            )
        if self.subnetwork is not None and self.structure != "full":
            raise OptimisationError(
                f'a `subnetwork` keeps its whole matrix, but `structure` is "{self.structure}". Leave it out.'
            )

    @led
    def run(self, *args: Any, **kwargs: Any) -> Posterior:
        """Approximate the posterior of the program with these arguments. May be called again, with different data.

        Returns:
            The draws, with `posterior.mode`, and `posterior.log_evidence`, the approximation of the log marginal likelihood
            :math:`\\log p(\\hat q) + \\frac n2 \\log 2\\pi - \\frac12 \\log\\det A`, by which scales of priors can be compared.
            Where the mode was searched, `posterior.pareto_k` judges the draws by their importance weights p/N, whose
            logarithms are ``posterior.stats["log_weight"]``.

        Raises:
            OptimisationError: there is no mode, or no strict one; a matrix that is too large; with "ggn", an observed site
                whose family has no Fisher information here, rows that depend on one another, or too many unknowns that are
                used otherwise than as weights of layers.

        Warns:
            DiagnosticWarning: Pareto k-hat is above 0.7; with "ggn", the point is not the mode.
        """
        data = LayerBatches(args, kwargs)
        first, named = data.first()
        density = LogDensity(rolled(self.model), first, named)
        announce_unobserved(density.unobserved)
        announce_empty(density.observed)
        if not density.dim:
            return self._without_unknowns(density)
        rng = np.random.default_rng(global_seed() if self.seed is None else self.seed)
        hessian = self.hessian or ("ggn" if self._of_network(density) else "exact")
        if hessian == "exact":
            return self._exact(density, rng)
        found = approximate(
            density,
            data,
            hessian=hessian,
            structure=self.structure,
            shared=self.shared_weights,
            subnetwork=self.subnetwork,
            init=self.init,
            num_steps=self.num_steps,
            engine=self.engine,
        )
        noise = rng.standard_normal((self.num_samples, density.dim))
        draws = found.q + found.precision.shape(torch.from_numpy(noise))
        at_mode = latent_values(density, found.run.ontos, found.q[None])
        mode = {name: value[0] for name, value in at_mode.items()}
        whole = self.subnetwork is None
        evidence = found.log_density + 0.5 * density.dim * LOG_2PI - 0.5 * found.precision.log_det if whole else None
        if found.compiled is not None and whole:
            log_q = -0.5 * (noise**2).sum(1) + 0.5 * found.precision.log_det - 0.5 * density.dim * LOG_2PI
            log_p = log_densities(found.compiled, draws.numpy())
            stats = {"lp": log_p, "log_weight": log_p - log_q}
            posterior = as_posterior(found.compiled, draws.numpy(), stats, pareto_k=pareto_k(log_p - log_q))
        else:
            sites = {name: value[None] for name, value in latent_values(density, found.run.ontos, draws).items()}
            engine = "eager" if found.compiled is None else found.compiled.engine
            posterior = assemble(Subject.of(density, engine), draws_of(sites, {}, draws.numpy()[None]))
        return replace(posterior, mode=mode, log_evidence=evidence)

    def _without_unknowns(self, density: LogDensity) -> Posterior:
        """The posterior of a program whose sites are all summed out: nothing is left to approximate."""
        with torch.no_grad():
            value, sites = density.with_values(torch.empty(0))
        evidence = float(value)
        if not np.isfinite(evidence):
            raise OptimisationError(
                f"the log density of {density.title} is {evidence} whatever its discrete sites are: the data are impossible."
            )
        each = np.full((1, self.num_samples), evidence)
        draws = draws_of(
            {name: one.detach().expand(1, self.num_samples, *one.shape).clone() for name, one in sites.items()},
            {"lp": each, "log_weight": each.copy()},
            np.empty((1, self.num_samples, 0)),
        )
        posterior = assemble(Subject.of(density), draws)
        return replace(posterior, mode={}, log_evidence=evidence)

    def _of_network(self, density: LogDensity) -> bool:
        return bool(density.modules) or self.structure != "full" or self.subnetwork is not None

    def _exact(self, density: LogDensity, rng: np.random.Generator) -> Posterior:
        check_size(density.dim)
        compiled = compile_density(density, self.engine)
        mode, bend = find_mode(compiled, self.init, self.num_steps or NUM_STEPS)
        noise = rng.standard_normal((self.num_samples, compiled.dim))
        draws = mode.point.q + noise @ bend.factor.T
        log_q = -0.5 * (noise**2).sum(1) + 0.5 * bend.log_det - 0.5 * compiled.dim * LOG_2PI
        log_p = log_densities(compiled, draws)
        stats = {"lp": log_p, "log_weight": log_p - log_q}
        posterior = as_posterior(compiled, draws, stats, pareto_k=pareto_k(log_p - log_q))
        evidence = mode.point.value + 0.5 * compiled.dim * LOG_2PI - 0.5 * bend.log_det
        at_mode = {name: value[0] for name, value in compiled.expand(mode.point.q[None]).items() if name in posterior.latents}
        return replace(posterior, mode=at_mode, log_evidence=evidence)


def find_mode(compiled: CompiledDensity, init: Any, num_steps: int) -> tuple[Maximum, Curvature]:
    """The mode of a log density, and its curvature there.

    Raises:
        OptimisationError: there is none, or no strict one.
    """
    value_and_grad = evaluator(compiled)
    mode = maximise(value_and_grad, start_point(compiled, init), num_steps)
    if not mode.converged:
        raise OptimisationError(f"Laplace's approximation needs the mode. {describe(mode, compiled.density, num_steps)}")
    bend = curvature(value_and_grad, mode.point.q)
    if not bend.definite:
        names = ", ".join(repr(name) for name in dict.fromkeys(compiled.density.site_at(i) for i in bend.flat()))
        raise OptimisationError(
            f"Laplace's approximation needs a strict mode, but where the search ended the log density does not fall "
            f"along {names}. Give the site a prior that determines it, or start elsewhere by `init`."
        )
    return mode, bend
