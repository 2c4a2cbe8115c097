/* A gradient step of each member, with the formulas of torch (nas/training/optimizer.py). A member is a row of
   whole vectors: its parameters, their gradients and their moments lie alike. After prelude.c. */
#pragma GCC optimize("O3")

typedef struct {
  index_t members, row; /* a row's values */
  real *values, *gradients, *mean, *square; /* the latter two where the optimizer has them */
  const real *norms, *clip_norms, *rates, *momenta;
} step_t;

/* The norm of each member's gradient. */
void norms(const step_t *s, real *found) {
  for (index_t m = 0; m < s->members; m++) {
    const real *gradient = s->gradients + m * s->row;
    vec sums = splat(0), more = splat(0);
    for (index_t i = 0; i < s->row; i += 2 * LANES) {
      sums += v_square(load(gradient + i));
      more += v_square(load(gradient + i + LANES));
    }
    found[m] = SUFFIX(sqrt)(row_total(sums + more));
  }
}

/* What a member's gradient is multiplied by, so that it is no longer than its clip norm. */
INLINE real clipped(const step_t *s, index_t m) {
  real scale = s->clip_norms[m] / (s->norms[m] + (real)1e-6);
  return scale < 1 ? scale : 1;
}

/* SGD (Sutskever et al. 2013, as torch has it); without momenta there is no mean. Gradients become 0. */
void sgd(const step_t *s) {
  for (index_t m = 0; m < s->members; m++) {
    index_t at = m * s->row;
    real scale = clipped(s, m);
    for (index_t i = at; i < at + s->row; i += LANES) {
      vec step = load(s->gradients + i) * scale;
      if (s->mean) store(s->mean + i, step = load(s->mean + i) * s->momenta[m] + step);
      store(s->values + i, load(s->values + i) - step * s->rates[m]);
      store(s->gradients + i, splat(0));
    }
  }
}

/* AdamW (Loshchilov & Hutter 2019): {beta 1, beta 2, epsilon, weight decay, 1 - beta 1^t, sqrt(1 - beta 2^t)}.
   Gradients become 0. */
void adamw(const step_t *s, const double *constants) {
  real new = 1 - constants[0], kept_square = constants[1], new_square = 1 - constants[1];
  real epsilon = constants[2], root = constants[5];
  for (index_t m = 0; m < s->members; m++) {
    index_t at = m * s->row;
    real scale = clipped(s, m), decay = 1 - s->rates[m] * constants[3], rate = s->rates[m] / constants[4];
    for (index_t i = at; i < at + s->row; i += LANES) {
      vec gradient = load(s->gradients + i) * scale, mean = load(s->mean + i);
      mean += (gradient - mean) * new;
      vec square = load(s->square + i) * kept_square + gradient * gradient * new_square;
      store(s->mean + i, mean);
      store(s->square + i, square);
      vec step = mean / (v_sqrt(square) / root + epsilon) * rate;
      store(s->values + i, load(s->values + i) * decay - step);
      store(s->gradients + i, splat(0));
    }
  }
}
