data {
  int<lower=0> N, K, H;
  matrix[N, K] x;
  vector[N] y;
}
parameters {
  matrix[K, H] w1;
  row_vector[H] b1;
  vector[H] w2;
  real b2;
  real<lower=0> sigma;
}
model {
  to_vector(w1) ~ std_normal();
  b1 ~ std_normal();
  w2 ~ std_normal();
  b2 ~ std_normal();
  sigma ~ std_normal();
  y ~ normal(tanh(x * w1 + rep_matrix(b1, N)) * w2 + b2, sigma);
}
