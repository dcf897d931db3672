// Predator and prey: as `odes.py` has them.
functions {
  vector slope(real t, vector z, vector theta) {
    return [(theta[1] - theta[2] * z[2]) * z[1], (theta[4] * z[1] - theta[3]) * z[2]]';
  }
}
data {
  int<lower=1> N;
  array[N] real<lower=0> times;
  matrix<lower=0>[N + 1, 2] pelts;
}
parameters {
  vector<lower=0>[4] theta;
  vector<lower=0>[2] z_init;
  vector<lower=0>[2] sigma;
}
model {
  array[N] vector[2] z = ode_rk45_tol(slope, z_init, 0, times, 1e-6, 1e-6, 1000000, theta);
  theta[{1, 3}] ~ normal(1, 0.5);
  theta[{2, 4}] ~ normal(0.05, 0.05);
  sigma ~ lognormal(-1, 1);
  z_init ~ lognormal(log(10), 1);
  for (k in 1:2) {
    pelts[1, k] ~ lognormal(log(z_init[k]), sigma[k]);
    for (n in 1:N) pelts[n + 1, k] ~ lognormal(log(z[n, k]), sigma[k]);
  }
}
