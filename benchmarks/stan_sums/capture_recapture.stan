// Animals that were marked, and are caught again as long as they live: y by occasion and animal.
data {
  int<lower=1> T;
  int<lower=1> N;
  array[T, N] int<lower=0, upper=1> y;
}
parameters {
  real<lower=0, upper=1> survives;
  real<lower=0, upper=1> seen;
}
model {
  real lives = log(survives);
  real dies = log1m(survives);
  survives ~ beta(2, 2);
  seen ~ beta(2, 2);
  for (n in 1:N) {
    real dead = negative_infinity();
    real alive = 0;
    for (t in 1:T) {
      if (y[t, n]) {
        dead = negative_infinity();
        alive += lives + log(seen);
      } else {
        dead = log_sum_exp(dead, alive + dies);
        alive += lives + log1m(seen);
      }
    }
    target += log_sum_exp(dead, alive);
  }
}
