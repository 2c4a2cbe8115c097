/* The output layer of each member, the loss of its scores, and the gradients of both; in torch the same is in
   nas/training/losses.py and heads.py. Members are gone through one after the other, so that what one gives
   does not depend on the others. After prelude.c. */
#pragma GCC optimize("O3")
#define PIECE 128 /* as in gemm.c: the rows for which `outer` asks for room */
#define WHOLE(count, unit) (((count) + (unit) - 1) / (unit) * (unit))
extern void gemm(index_t, index_t, index_t, const real *, index_t, const real *, const real *, index_t, real *, index_t);
extern void pack(index_t, index_t, index_t, index_t, index_t, const real *, index_t, index_t, real *);
extern void pack_back(index_t, index_t, index_t, index_t, index_t, index_t, const real *, index_t, index_t, real *);
extern void outer(index_t, index_t, const real *, index_t, const real *, index_t, const map_t *, index_t, index_t, index_t, real *);
extern void total(index_t, const real *, index_t, index_t, index_t, real *, index_t, index_t);

typedef enum { CATEGORICAL, BERNOULLI, GAUSSIAN } head_t;

/* What all members share, whether only a part of the rows is scored, and how many values lie between those of
   one member and the next. */
typedef struct {
  index_t members, rows, scored, is_part, width, outputs, streams, head;
  index_t y_apart, weight_apart, bias_apart, of_weight_apart, of_bias_apart;
} sizes_t;

typedef struct {
  const real *y, *weight, *bias;
  const index_t *places;  /* the scored rows of y; none if all are */
  const void *targets;    /* of each scored row: a class, or `outputs` bits or numbers */
  real *loss;             /* of each member */
  char *right;            /* of each member and scored row; none where it is not asked for */
  real *of_y, *of_weight, *of_bias; /* gradients; none where they are not asked for */
  real *scratch;
  index_t *no_class, *no_place; /* a class and a row that there are not are noted here, and not followed */
} values_t;

INLINE ivec first_lanes(index_t count) {
  ivec there;
  for (int i = 0; i < LANES; i++) there[i] = i < count ? -1 : 0;
  return there;
}

/* -ln softmax(scores)[target], and whether the target is the first of the largest scores. In place of the
   scores comes softmax(scores), less 1 at the target, times `share`. */
INLINE double categorical(real *scores, index_t outputs, index_t target, real share, char *right) {
  index_t last = (outputs - 1) / LANES * LANES;
  ivec there = first_lanes(outputs - last);
  store(scores + last, pick(there, load(scores + last), splat(-__builtin_inf())));
  vec largest = load(scores);
  for (index_t j = LANES; j <= last; j += LANES) largest = v_max(largest, load(scores + j));
  real most = row_largest(largest), at_target = scores[target];
  if (right) {
    *right = at_target == most;
    for (index_t j = 0; *right && j < target; j++) *right = scores[j] != most;
  }
  vec sums = splat(0);
  for (index_t j = 0; j <= last; j += LANES) {
    vec powers = v_exp(load(scores + j) - most);
    sums += powers;
    store(scores + j, powers);
  }
  real sum = row_total(sums);
  for (index_t j = 0; j <= last; j += LANES) store(scores + j, load(scores + j) * (share / sum));
  scores[target] -= share;
  return (double)SUFFIX(log)(sum) - (at_target - most);
}

/* -ln P(bits), the sum over a row's bits, and whether all are guessed; in place of the scores comes
   sigmoid(scores) less the bits, times `share`. */
INLINE double bernoulli(real *scores, index_t outputs, const real *bits, real share, char *right) {
  double loss = 0;
  if (right) *right = 1;
  for (index_t j = 0; j < outputs; j += LANES) {
    index_t some = outputs - j < LANES ? outputs - j : LANES;
    vec a = load(scores + j), bit = start(bits + j, some);
    vec lost = v_relu(a) - a * bit + v_log1p(v_exp(-v_abs(a)));
    store(scores + j, pick(first_lanes(some), (v_sigmoid(a) - bit) * share, splat(0)));
    for (index_t q = 0; q < some; q++) {
      loss += lost[q];
      if (right && (a[q] > 0) != (bit[q] > 0)) *right = 0;
    }
  }
  return loss;
}

/* The squared error, the mean over a row's numbers; no guess is right. In place of the scores comes its
   gradient, times `share`. */
INLINE double gaussian(real *scores, index_t outputs, const real *numbers, real share, char *right) {
  double loss = 0;
  if (right) *right = 0;
  for (index_t j = 0; j < WHOLE(outputs, LANES); j++) {
    real apart = j < outputs ? scores[j] - numbers[j] : 0;
    loss += (double)(apart * apart);
    scores[j] = apart * (2 * share / outputs);
  }
  return loss / outputs;
}

/* Where things lie in the scratch memory. */
typedef struct { real *bias, *none, *panels, *scores, *read, *back, *rows, *of_outer, *end; } room_t;

static room_t room_of(const sizes_t *s, real *at) {
  index_t wide = WHOLE(s->outputs, LANES), deep = WHOLE(s->width, LANES);
  room_t r = {at};
  r.none = r.bias + wide;
  r.panels = r.none + deep;
  r.scores = r.panels + wide * s->width;
  r.read = r.scores + s->scored * wide + 2 * LANES; /* `outer` may read behind the last score */
  r.back = r.read + (s->is_part ? WHOLE(s->scored * s->width, LANES) : 0);
  r.rows = r.back + s->outputs * deep;
  r.of_outer = r.rows + s->scored * deep;
  r.end = r.of_outer + PIECE * WHOLE(s->width, 2 * LANES);
  return r;
}

/* The number of values for which `losses` needs room. */
void room(const sizes_t *s, index_t *count) { *count = room_of(s, 0).end - (real *)0; }

/* One member's loss. Its scores' gradient is left in their place. */
static real forward(const sizes_t *s, const values_t *v, const room_t *r, const real *y) {
  index_t wide = WHOLE(s->outputs, LANES);
  put_row(r->bias, v->bias, s->outputs, wide);
  pack(s->width, wide, 0, s->outputs, wide, v->weight, s->width, 0, r->panels);
  gemm(s->scored, s->width, wide, y, s->width, r->panels, r->bias, 0, r->scores, wide);
  double loss = 0;
  for (index_t i = 0; i < s->scored; i++) {
    real *row = r->scores + i * wide, share = (real)1 / s->streams;
    const real *numbers = (const real *)v->targets + i * s->outputs;
    char *right = v->right ? v->right + i : 0;
    if (s->head == CATEGORICAL) {
      index_t target = ((const index_t *)v->targets)[i];
      if (target < 0 || target >= s->outputs) *v->no_class = target, target = 0;
      loss += categorical(row, s->outputs, target, share, right);
    } else if (s->head == BERNOULLI) loss += bernoulli(row, s->outputs, numbers, share, right);
    else loss += gaussian(row, s->outputs, numbers, share, right);
  }
  return loss / s->streams;
}

/* One member's gradients, from those of its scores. */
static void backward(const sizes_t *s, const values_t *v, const room_t *r, const real *y) {
  index_t wide = WHOLE(s->outputs, LANES), deep = WHOLE(s->width, LANES);
  put_row(r->none, 0, s->width, deep);
  pack_back(s->width, deep, s->outputs, 0, s->outputs, s->outputs, v->weight, s->width, 0, r->back);
  gemm(s->scored, s->outputs, deep, r->scores, wide, r->back, r->none, 0, r->rows, deep);
  if (s->is_part) memset(v->of_y, 0, BYTES(s->rows * s->width));
  for (index_t i = 0; i < s->scored; i++)
    memcpy(v->of_y + (v->places ? v->places[i] : i) * s->width, r->rows + i * deep, BYTES(s->width));
  map_t map = {0, s->outputs, v->of_weight, s->width};
  if (!s->scored) memset(v->of_weight, 0, BYTES(s->outputs * s->width));
  outer(s->scored, s->width, r->scores, wide, y, s->width, &map, 1, 0, s->outputs, r->of_outer);
  total(s->scored, r->scores, wide, 0, s->outputs, v->of_bias, 0, wide);
}

void losses(const sizes_t *s, const values_t *all) {
  values_t v = *all;
  room_t r = room_of(s, v.scratch);
  for (index_t m = 0; m < s->members; m++) {
    const real *y = v.y;
    if (v.places) {
      for (index_t i = 0; i < s->scored; i++) {
        if (v.places[i] < 0 || v.places[i] >= s->rows) {
          *v.no_place = v.places[i];
          return;
        }
        memcpy(r.read + i * s->width, v.y + v.places[i] * s->width, BYTES(s->width));
      }
      y = r.read;
    }
    *v.loss = forward(s, &v, &r, y);
    if (v.of_y) backward(s, &v, &r, y);
    v.y += s->y_apart, v.weight += s->weight_apart, v.bias += s->bias_apart, v.loss++;
    v.right += v.right ? s->scored : 0;
    if (v.of_y)
      v.of_y += s->rows * s->width, v.of_weight += s->of_weight_apart, v.of_bias += s->of_bias_apart;
  }
}
