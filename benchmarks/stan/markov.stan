data {
  int<lower=1> N, S, M;
  array[N] int<lower=1, upper=M> y;
  array[S] vector<lower=0>[M] concentration;
}
parameters {
  array[S] simplex[S] theta;
  array[S] simplex[M] phi;
}
model {
  matrix[S, S] transition;
  matrix[S, N] emitted;
  for (k in 1 : S) {
    theta[k] ~ dirichlet(rep_vector(1, S));
    phi[k] ~ dirichlet(concentration[k]);
    transition[k] = theta[k]';
    emitted[k] = log(phi[k])[y]';
  }
  target += hmm_marginal(emitted, transition, rep_vector(1.0 / S, S));
}
