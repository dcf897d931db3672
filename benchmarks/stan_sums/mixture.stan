// A mixture of K normals, summed over the labels.
data {
  int<lower=1> K;
  int<lower=0> N;
  vector[N] y;
}
parameters {
  simplex[K] w;
  vector[K] mu;
  vector<lower=0>[K] s;
}
model {
  vector[K] log_w = log(w);
  mu ~ normal(0, 5);
  s ~ normal(0, 1);
  for (n in 1:N) {
    vector[K] terms = log_w;
    for (k in 1:K) terms[k] += normal_lpdf(y[n] | mu[k], s[k]);
    target += log_sum_exp(terms);
  }
}
