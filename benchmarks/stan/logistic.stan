data {
  int<lower=0> N, K;
  matrix[N, K] x;
  array[N] int<lower=0, upper=1> y;
}
parameters {
  real alpha;
  vector[K] beta;
}
model {
  alpha ~ normal(0, 2.5);
  beta ~ std_normal();
  y ~ bernoulli_logit_glm(x, alpha, beta);
}
