data {
  int<lower=0> N, G;
  array[N] int<lower=1, upper=G> county;
  vector[N] level, y;
}
parameters {
  real mu_a, mu_b;
  real<lower=0> sigma_a, sigma_b, sigma;
  vector[G] z_a, z_b;
}
model {
  vector[G] a = mu_a + sigma_a * z_a;
  vector[G] b = mu_b + sigma_b * z_b;
  mu_a ~ normal(0, 10);
  mu_b ~ normal(0, 10);
  sigma_a ~ std_normal();
  sigma_b ~ std_normal();
  sigma ~ std_normal();
  z_a ~ std_normal();
  z_b ~ std_normal();
  y ~ normal(a[county] + b[county] .* level, sigma);
}
