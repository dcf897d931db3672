"""`HMC` and `NUTS` with Pyro's settings: the samplers are sursum's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

import sursum as su
from sursum.compat.pyro.running import as_program
from sursum.errors import SamplingError


class HMC:
    """Hamiltonian Monte Carlo of a program, or of a potential energy, with trajectories of a given length.

    Lengths are drawn from half to one and a half times the given one: with a fixed length, trajectories that are a period of
    the posterior would end where they began.

    Args:
        model: the program.
        potential_fn: a function from values by name to −log p, instead of a program; `MCMC` then needs `initial_params`.
        step_size: with `num_steps` the length of a trajectory is their product; the step size itself is adapted.
        trajectory_length: the mean length of a trajectory; 2π if neither is given.
        num_steps: the steps of a trajectory at the initial `step_size`.
        full_mass: adapt to correlations.
        target_accept_prob: as in `sursum.infer.HMC`.
        init_strategy: a function from a site to its value at the start; None starts where sursum does.
        adapt_step_size, adapt_mass_matrix, transforms, max_plate_nesting, jit_compile, jit_options, ignore_jit_warnings,
            min_stepsize, max_stepsize: the step size and the scales are always adapted, and every density is compiled.
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Mapping[str, Tensor]], Tensor] | None = None,
        step_size: float = 1.0,
        trajectory_length: float | None = None,
        num_steps: int | None = None,
        adapt_step_size: bool = True,
        adapt_mass_matrix: bool = True,
        full_mass: bool | list[tuple[str, ...]] = False,
        transforms: Mapping[str, Any] | None = None,
        max_plate_nesting: int | None = None,
        jit_compile: bool = False,
        jit_options: Mapping[str, Any] | None = None,
        ignore_jit_warnings: bool = False,
        target_accept_prob: float = 0.8,
        init_strategy: Callable[..., Any] | None = None,
        min_stepsize: float | None = None,
        max_stepsize: float | None = None,
    ) -> None:
        if (model is None) == (potential_fn is None):
            raise SamplingError(f"{type(self).__name__} needs a model or a potential_fn, and not both.")
        if not adapt_step_size:
            raise SamplingError("`adapt_step_size` is False, but the step size is always adapted: leave it out.")
        if not adapt_mass_matrix:
            raise SamplingError("`adapt_mass_matrix` is False, but scales are always adapted: leave it out.")
        if transforms:
            raise SamplingError("`transforms` is given, but coordinates are chosen by the supports of the sites: leave it out.")
        if trajectory_length is not None:
            self.trajectory_length = trajectory_length
        else:
            self.trajectory_length = 2.0 * math.pi if num_steps is None else step_size * num_steps
        self.model, self.potential_fn, self.init_strategy = model, potential_fn, init_strategy
        self.target_accept_prob, self.full_mass = target_accept_prob, bool(full_mass)

    def sampler(self, initial: Mapping[str, Tensor] | None) -> su.infer.HMC | su.infer.NUTS:
        """sursum's kernel; `initial` gives the shapes of the values of a potential."""
        return su.infer.HMC(self._program(initial), self.trajectory_length, self.target_accept_prob, metric=self._metric)

    @property
    def _metric(self) -> str:
        return "dense" if self.full_mass else "auto"

    def _program(self, initial: Mapping[str, Tensor] | None) -> Callable[..., Any]:
        return as_program(self.model) if self.model is not None else self._of_potential(initial)

    def _of_potential(self, initial: Mapping[str, Tensor] | None) -> Callable[..., None]:
        if initial is None:
            raise SamplingError("a potential_fn needs `initial_params`, values by name, which give the shapes.")
        potential, shapes = self.potential_fn, {name: value.shape for name, value in initial.items()}
        assert potential is not None

        def program(*args: Any, **kwargs: Any) -> None:
            real = su.distributions.constraints.real
            values = {
                name: su.sample(name, su.distributions.ImproperUniform(real).expand(shape).to_event())
                for name, shape in shapes.items()
            }
            su.factor("potential", -torch.as_tensor(potential(values)).sum())

        return program


class NUTS(HMC):
    """The No-U-Turn sampler of a program, or of a potential energy.

    Args:
        model: the program.
        potential_fn: a function from values by name to −log p, instead of a program; `MCMC` then needs `initial_params`.
        target_accept_prob, max_tree_depth: as in `sursum.infer.NUTS`.
        full_mass: adapt to correlations.
        init_strategy: a function from a site to its value at the start; None starts where sursum does.
        step_size, adapt_step_size, adapt_mass_matrix, use_multinomial_sampling, transforms, max_plate_nesting, jit_compile,
            jit_options, ignore_jit_warnings: the step size and the scales are always adapted, and every density is compiled.
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Mapping[str, Tensor]], Tensor] | None = None,
        step_size: float = 1.0,
        adapt_step_size: bool = True,
        adapt_mass_matrix: bool = True,
        full_mass: bool | list[tuple[str, ...]] = False,
        use_multinomial_sampling: bool = True,
        transforms: Mapping[str, Any] | None = None,
        max_plate_nesting: int | None = None,
        jit_compile: bool = False,
        jit_options: Mapping[str, Any] | None = None,
        ignore_jit_warnings: bool = False,
        target_accept_prob: float = 0.8,
        max_tree_depth: int = 10,
        init_strategy: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(
            model,
            potential_fn,
            adapt_step_size=adapt_step_size,
            adapt_mass_matrix=adapt_mass_matrix,
            full_mass=full_mass,
            transforms=transforms,
            target_accept_prob=target_accept_prob,
            init_strategy=init_strategy,
        )
        self.max_tree_depth = max_tree_depth

    def sampler(self, initial: Mapping[str, Tensor] | None) -> su.infer.HMC | su.infer.NUTS:
        return su.infer.NUTS(self._program(initial), self.target_accept_prob, self.max_tree_depth, self._metric)
