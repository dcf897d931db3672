// Two chains of P states each that are seen in their sum, by the forward algorithm over pairs, one chain's move at a time.
data {
  int<lower=1> P;
  int<lower=1> N;
  vector[N] y;
}
parameters {
  vector<lower=0, upper=1>[2] stay;
  vector[2] height;
}
model {
  array[2] matrix[P, P] moves;
  matrix[P, P] ahead;
  stay ~ beta(8, 2);
  height ~ normal(0, 1);
  for (c in 1:2) {
    moves[c] = rep_matrix(log1m(stay[c]) - log(P - 1), P, P);
    for (k in 1:P) moves[c][k, k] = log(stay[c]);
  }
  for (a in 1:P)
    for (b in 1:P)
      ahead[a, b] = moves[1][1, a] + moves[2][1, b] + normal_lpdf(y[1] | height[1] * (a - 1) + height[2] * (b - 1), 1);
  for (n in 2:N) {
    matrix[P, P] moved;
    for (a in 1:P)
      for (b in 1:P)
        moved[a, b] = log_sum_exp(ahead[, b] + moves[1][, a]);
    for (a in 1:P)
      for (b in 1:P)
        ahead[a, b] = log_sum_exp(moved[a]' + moves[2][, b])
                      + normal_lpdf(y[n] | height[1] * (a - 1) + height[2] * (b - 1), 1);
  }
  target += log_sum_exp(to_vector(ahead));
}
