data {
  int<lower=1> N;
  vector[N] y;
}
parameters {
  real mu;
  real<lower=-1, upper=1> phi;
  real<lower=0> sigma;
  vector[N] z;
}
model {
  vector[N] h = sigma * z;
  h[1] /= sqrt(1 - square(phi));
  for (t in 2 : N) {
    h[t] += phi * h[t - 1];
  }
  mu ~ normal(0, 2);
  sigma ~ std_normal();
  z ~ std_normal();
  y ~ normal(0, exp((mu + h) / 2));
}
