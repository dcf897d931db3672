"""Where programs of Pyro's mean something else here: the table of the documentation, and of `python -m sursum port`."""

from __future__ import annotations

from collections.abc import Mapping

DIFFERENCES: Mapping[str, str] = {
    "pyro.poutine.lift": (
        "a scalar prior on a vector is one independent prior per element, and a network is called with what was "
        "drawn; Pyro draws one number, and calls the network with its old weights"
    ),
    "pyro.random_module": "its networks are called with what was drawn, as above",
    "pyro.module": (
        "the result may be dropped: the network itself holds lifted, trained and held values while the program runs"
    ),
    "pyro.param": (
        "the coordinates of some constrained parameters are sursum's, such as those of a simplex: steps of an optimiser are "
        "then others"
    ),
    "pyro.sample": (
        "dimensions of a value that no plate and no distribution has are an error, in every method; in Pyro in SVI only"
    ),
    "pyro.plate": "a plate's size is part of every site inside, and is checked; a subsample is scaled once",
    "pyro.factor": "in a guide it is a term of log q, with or without `has_rsample`",
    "pyro.infer.SVI": (
        "after 32 steps that run the programs themselves, which take as long as a capture, the step is captured: prints "
        "happen no more, and draws come from a generator of its own; `settings.set(capture_steps=False)` continues as Pyro does"
    ),
    "pyro.infer.JitTrace_ELBO": "it is Trace_ELBO: steps are captured wherever they can be",
    "pyro.infer.TraceGraph_ELBO": (
        "it is Trace_ELBO, whose score-function terms are already of what depends on a site, by plates"
    ),
    "pyro.infer.TraceMeanField_ELBO": (
        "a divergence in closed form is used only where the guide draws in the model's order; in Pyro the number is "
        "then no bound"
    ),
    "pyro.infer.MCMC": (
        "chains are threads; densities are compiled, and the warm-up is sursum's; problems are warnings; a hook is not called"
    ),
    "pyro.infer.NUTS": (
        "the step size and the scales are always adapted; `jit_compile` has no use, and `full_mass` adapts to "
        "correlations by a low rank"
    ),
    "pyro.infer.HMC": (
        "trajectories are of half to one and a half times the given length, at random; the step size and the scales are "
        "always adapted"
    ),
    "pyro.infer.Predictive": "draws are evaluated together, in double precision, and come from a generator of their own",
    "pyro.infer.autoguide.AutoNormal": "a guide runs its model, so plates, subsamples and supports are the model's",
    "pyro.infer.autoguide.AutoMultivariateNormal": (
        "its factor is `AutoMultivariateNormal.lower` below the diagonal, relative to the scales; `guide.scale_tril` "
        "is the whole"
    ),
    "pyro.infer.autoguide.AutoStructured": (
        "its factor is `AutoStructured.lower` below the diagonal, relative to the scales; 'linear' alone lets each site "
        "depend on all before it"
    ),
    "pyro.infer.autoguide.AutoGaussian": (
        "with the backend 'dense' alone; a `factor` relates the sites that it is computed from"
    ),
    "pyro.infer.autoguide.AutoNormalMessenger": "it starts at the prior's means given those of the sites before, not at draws",
    "pyro.infer.autoguide.AutoDiscreteParallel": "a discrete site in a subsampled plate is an error",
    "pyro.infer.autoguide.AutoNormalizingFlow": "`init_transform_fn` gives a flow of zuko's",
    "pyro.distributions.transforms.spline": "this and other splines are rational-quadratic; transforms have no `dim`",
    "pyro.contrib.easyguide.EasyGuide": (
        "a plate without a size has that of the model in this call, and its dimension; a group has one coordinate for each "
        "degree of freedom of a simplex or a Cholesky factor"
    ),
    "pyro.infer.reparam.NeuTraReparam": "its auxiliary site is `neutra_base`; it needs a guide that has been fitted",
    "pyro.infer.reparam.LocScaleReparam": "centered=None learns the centring in SVI, as in Pyro; sursum's own has 0.0",
    "pyro.optim.ClippedAdam": "without `centered_variance`",
    "pyro.poutine.condition": "a value outside the support of its site is an error",
    "pyro.poutine.block": "`hide_fn` or `expose_fn` decides alone, as in Pyro; sursum's own refuses both together",
    "pyro.poutine.enum": "enumeration is sursum's own: a discrete site is summed out by every density",
    "pyro.get_param_store": "`load` reads tensors and constraints and executes nothing",
}
"""What is not as in Pyro, for each of its names that is here."""

NUMPYRO: Mapping[str, str] = {
    "numpyro.set_host_device_count": "leave it out: chains are threads, `su.infer.MCMC(…, cores=4)`",
    "numpyro.set_platform": "leave it out: a program runs where its tensors are",
    "numpyro.enable_x64": "leave it out: densities are computed in double precision",
    "numpyro.contrib.control_flow.scan": "write `su.scan`, with the same signature",
    "numpyro.contrib.module.flax_module": "write `su.module(name, net)`, with a torch network",
    "numpyro.contrib.module.random_flax_module": "write `su.random_module(name, net, prior)`",
    "numpyro.plate_stack": "nest `su.plate`",
    "numpyro.subsample": "index with what the plate gives: `with su.plate(…) as index: data[index]`",
    "numpyro.prng_key": "leave it out: draws come from torch's generator, or from `su.seed(model, 0)`",
    "numpyro.render_model": "write `su.render(model, *args)`",
    "numpyro.handlers.scope": "write `sursum.compat.pyro.contrib.autoname.scope`, or prefixes",
    "numpyro.handlers.infer_config": "a handler of four lines: `site.but(infer=…)`",
    "numpyro.infer.MCMC": (
        "write `su.infer.MCMC(kernel, num_warmup=…, num_samples=…, seed=0).run(*args)`, which returns the posterior"
    ),
    "numpyro.infer.Predictive": "write `su.infer.Predictive(model, posterior, seed=0)(*args)`, without a key",
    "numpyro.infer.init_to_value": (
        "for samplers write `su.infer.MCMC(…, init=values)`; for guides it is in `su.infer.autoguide`"
    ),
    "numpyro.infer.HMC": "write `su.infer.HMC(model)`",
    "numpyro.diagnostics.print_summary": "write `print(posterior.summary())`",
    "numpyro.diagnostics.summary": "write `posterior.summary()`",
    "numpyro.diagnostics.hpdi": "write `sursum.compat.pyro.ops.stats.hpdi`",
    "numpyro.util.enable_x64": "leave it out: densities are computed in double precision",
}
"""What to write for names of NumPyro's that are not sursum's under the same path."""
