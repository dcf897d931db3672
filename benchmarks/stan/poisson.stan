data {
  int<lower=0> N, G;
  array[N] int<lower=1, upper=G> county;
  vector[N] level;
  array[N] int<lower=0> y;
}
parameters {
  real mu, b;
  real<lower=0> sigma;
  vector[G] z;
}
model {
  vector[G] a = mu + sigma * z;
  mu ~ std_normal();
  b ~ std_normal();
  sigma ~ std_normal();
  z ~ std_normal();
  y ~ poisson_log(a[county] + b * level);
}
