// A hidden Markov chain of S states that starts in the first, by the forward algorithm.
data {
  int<lower=1> S;
  int<lower=1> N;
  vector[N] y;
}
parameters {
  vector[S] mu;
  array[S] simplex[S] moves;
}
model {
  matrix[S, S] log_moves;
  vector[S] ahead;
  mu ~ normal(0, 1);
  for (i in 1:S) log_moves[i] = log(moves[i])';
  for (j in 1:S) ahead[j] = log_moves[1, j] + normal_lpdf(y[1] | mu[j], 1);
  for (n in 2:N) {
    vector[S] next;
    for (j in 1:S) next[j] = log_sum_exp(ahead + log_moves[, j]) + normal_lpdf(y[n] | mu[j], 1);
    ahead = next;
  }
  target += log_sum_exp(ahead);
}
