"""`SVI` on the global store, with Pyro's `step` and `evaluate_loss`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sursum.compat.pyro.infer.captured import Captured
from sursum.compat.pyro.infer.elbo import ELBO, Reads
from sursum.compat.pyro.optim.optim import PyroOptim
from sursum.compat.pyro.running import execution
from sursum.compat.pyro.settings import capturing
from sursum.compat.pyro.store import leaves_of
from sursum.errors import OptionError, VariationalError

THEMSELVES = 32
"""How many steps run the programs themselves, and so have Pyro's draws at a seed. A capture takes as long: 32 of them for a
logistic regression, 34 for a network of 601 weights. `su.infer.SVI.step` captures at the first call."""


class SVI:
    """Fit a guide to the posterior of a model, by steps on the parameters of the global store.

    Args:
        model, guide: the programs.
        optim: one of `pyro.optim`, a torch optimiser's class, or a function from parameters to a torch optimiser.
        loss: a bound, or a function of model, guide and arguments that returns the loss as a tensor. `svi.loss` is that
            function, of a bound its own.
        loss_and_grads: a function that adds the gradients to those of the leaves, and returns the loss as a number.

    Example:
        >>> import torch, sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> pyro.clear_param_store()
        >>> def model(y):
        ...     pyro.sample("y", dist.Normal(pyro.sample("mu", dist.Normal(0.0, 1.0)), 1.0), obs=y)
        >>> guide = pyro.infer.autoguide.AutoDelta(model)
        >>> svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), pyro.infer.Trace_ELBO())
        >>> losses = [svi.step(torch.tensor(2.0)) for _ in range(200)]
        >>> round(float(guide.median()["mu"]), 2)
        1.0
    """

    def __init__(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        optim: Any,
        loss: Any,
        loss_and_grads: Callable[..., float] | None = None,
        num_samples: int = 0,
        num_steps: int = 0,
        **kwargs: Any,
    ) -> None:
        for what, program in (("model", model), ("guide", guide)):
            if not callable(program):
                raise VariationalError(f"`{what}` is {program!r}, but must be a program: a callable.")
        if isinstance(loss, type) or not (isinstance(loss, ELBO) or callable(loss)):
            raise VariationalError(f"`loss` is {loss!r}, but must be a bound: give Trace_ELBO(), with parentheses.")
        if num_samples or num_steps or kwargs:
            names = [*(["num_samples"] if num_samples else []), *(["num_steps"] if num_steps else []), *kwargs]
            raise OptionError(f"SVI has no option {', '.join(names)}: call `step`, and draw with `Predictive`.")
        self.model, self.guide = model, guide
        self.optim = optim if isinstance(optim, PyroOptim) else PyroOptim.of(optim)
        self.loss = loss.loss if isinstance(loss, ELBO) else loss
        self.loss_and_grads = loss_and_grads or (loss.loss_and_grads if isinstance(loss, ELBO) else self._by_backward)
        self._taken = 0
        ours = type(loss).__module__.startswith(f"{__package__}.")
        plain = loss_and_grads is None and isinstance(loss, ELBO) and ours
        self._captured = Captured(model, guide, self.optim, loss.sursum) if plain else None

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """Take one step, and return the loss before it.

        The first steps run the programs themselves; then the step is captured, if the programs allow it.
        """
        self._taken += 1
        if self._captured is not None and self._captured.usable and self._taken > THEMSELVES and capturing():
            loss = self._captured.step(args, kwargs)
            if loss is not None:
                return loss
        return self._by_programs(args, kwargs)

    def _by_programs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with Reads() as reads, torch.enable_grad():
            loss = self.loss_and_grads(self.model, self.guide, *args, **kwargs)
        leaves = leaves_of(list(reads.names))
        if not leaves and self._captured is not None:
            self._captured.usable = False
        self.optim.take(leaves)
        for leaf in leaves.values():
            leaf.grad = None
        return loss

    def evaluate_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The loss, estimated once."""
        with torch.no_grad(), execution():
            return _number(self.loss(self.model, self.guide, *args, **kwargs))

    def _by_backward(self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with execution():
            loss = self.loss(model, guide, *args, **kwargs)
        if isinstance(loss, Tensor) and loss.requires_grad:
            loss.backward()
        return _number(loss)


def _number(loss: Any) -> Any:
    return float(loss.detach()) if isinstance(loss, Tensor) else loss
