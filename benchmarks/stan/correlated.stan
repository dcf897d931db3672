data {
  int<lower=0> N, G;
  array[N] int<lower=1, upper=G> county;
  vector[N] level, y;
}
parameters {
  row_vector[2] mu;
  vector<lower=0>[2] s;
  cholesky_factor_corr[2] L;
  real<lower=0> sigma;
  matrix[G, 2] z;
}
model {
  matrix[G, 2] effect = rep_matrix(mu, G) + z * diag_pre_multiply(s, L)';
  mu ~ normal(0, 10);
  s ~ std_normal();
  L ~ lkj_corr_cholesky(2);
  sigma ~ std_normal();
  to_vector(z) ~ std_normal();
  y ~ normal(effect[county, 1] + effect[county, 2] .* level, sigma);
}
