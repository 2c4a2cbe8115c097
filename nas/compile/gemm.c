/* Products of matrices, and how a call is shared out among threads. After prelude.c.

   Sums stay in registers: a tile is up to HIGH rows by two vectors of columns, and 5 to 10 rows reach the
   machine's peak, so rows are shared out evenly among tiles. Sums are made in pieces of PIECE terms and
   are then rounded about as often as those of other libraries. */
#define HIGH 10
#define PIECE 128

/* Factors are floats or, with `half`, bfloat16: two terms in a 32-bit word that lies where a float would. */
typedef unsigned words __attribute__((vector_size(64), aligned(4)));
#if defined(__AVX512BF16__) && !defined(DOUBLE)
#define HALVES
INLINE vec dot(vec sum, words a, words b) {
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}
#else
#define dot(sum, a, b) (sum)
#endif
INLINE vec factors(int half, const real *p) { return half ? (vec)*(const words *)p : load(p); }
INLINE vec plus_product(int half, vec sum, const real *a, vec b) {
  return half ? dot(sum, (words)b, *(const unsigned *)a - (words){}) : sum + *a * b;
}

INLINE void tile(int half, int m, int v, index_t k, const real *a, index_t lda, const real *panel,
                 const real *init, index_t ldi, real *c, index_t ldc) {
  vec sum[HIGH][2];
  for (int i = 0; i < m; i++)
    for (int j = 0; j < v; j++) sum[i][j] = splat(0);
  for (index_t l = 0; l < k; l++, panel += v * LANES) {
    vec b0 = factors(half, panel), b1 = v > 1 ? factors(half, panel + LANES) : b0;
#pragma GCC unroll 10
    for (int i = 0; i < m; i++) {
      sum[i][0] = plus_product(half, sum[i][0], a + i * lda + l, b0);
      if (v > 1) sum[i][1] = plus_product(half, sum[i][1], a + i * lda + l, b1);
    }
  }
  for (int i = 0; i < m; i++)
    for (int j = 0; j < v; j++)
      store(c + i * ldc + j * LANES, load(init + i * ldi + j * LANES) + sum[i][j]);
}

#define TILES(call) \
  switch (high) { \
    case 1: call(1); break; case 2: call(2); break; case 3: call(3); break; case 4: call(4); break; \
    case 5: call(5); break; case 6: call(6); break; case 7: call(7); break; case 8: call(8); break; \
    case 9: call(9); break; default: call(10); \
  }

INLINE void rows_of(int half, int v, index_t m, index_t k, const real *a, index_t lda, const real *panel,
                    const real *init, index_t ldi, real *c, index_t ldc) {
  for (index_t tiles = (m + HIGH - 1) / HIGH; tiles; tiles--) {
    index_t high = (m + tiles - 1) / tiles;
#define TILE(h) tile(half, h, v, k, a, lda, panel, init, ldi, c, ldc)
    TILES(TILE)
    m -= high, a += high * lda, init += high * ldi, c += high * ldc;
  }
}

INLINE void columns_of(int v, index_t m, index_t k, const real *a, index_t lda, const real *panel,
                       const real *init, index_t ldi, real *c, index_t ldc) {
  for (; k > PIECE; k -= PIECE, a += PIECE, panel += PIECE * v * LANES, init = c, ldi = ldc)
    rows_of(0, v, m, PIECE, a, lda, panel, init, ldi, c, ldc);
  rows_of(0, v, m, k, a, lda, panel, init, ldi, c, ldc);
}

/* c[m][n] = init[m][n] + a[m][k] b[k][n]; n a multiple of LANES; ldi = 0 repeats one row of init. */
void gemm(index_t m, index_t k, index_t n, const real *a, index_t lda, const real *panels,
          const real *init, index_t ldi, real *c, index_t ldc) {
  index_t j = 0;
  for (; j + 2 * LANES <= n; j += 2 * LANES, panels += k * 2 * LANES)
    columns_of(2, m, k, a, lda, panels, init + j, ldi, c + j, ldc);
  if (j < n) columns_of(1, m, k, a, lda, panels, init + j, ldi, c + j, ldc);
}

/* For a call of one row, whose matrices are not worth packing: c[j] += sum over l of a[l] w[j][l]. */
void by_row(index_t k, index_t width, const real *a, const real *w, index_t ld, real *c) {
  for (index_t j = 0; j < width; j += 4) {
    index_t some = width - j < 4 ? width - j : 4;
    const real *row[4];
    vec sum[4];
    for (index_t q = 0; q < 4; q++) row[q] = w + (j + (q < some ? q : 0)) * ld, sum[q] = splat(0);
    index_t l = 0;
    for (; l + LANES <= k; l += LANES)
      for (index_t q = 0; q < 4; q++) sum[q] += load(a + l) * load(row[q] + l);
    if (l < k)
      for (index_t q = 0; q < 4; q++) sum[q] += start(a + l, k - l) * start(row[q] + l, k - l);
    for (index_t q = 0; q < some; q++) c[j + q] += row_total(sum[q]);
  }
}

#define WIDE 16 /* columns of sums that are packed together: a cache line or two */
#define HALF_TILES(call) \
  switch (high) { \
    case 1: call(1); break; case 2: call(2); break; case 3: call(3); break; case 4: call(4); break; \
    case 5: call(5); break; case 6: call(6); break; case 7: call(7); break; default: call(8); \
  }

/* `m` rows of a gradient: c[i][j] += sum over n rows of a[l][i] b[l][j], of which `some` columns are there. */
INLINE void outer_tile(int half, int m, int v, index_t n, const real *a, index_t lda, const real *panel,
                       index_t add, real *c, index_t ldc, index_t some) {
  vec sum[WIDE / 2][2];
  for (int i = 0; i < m; i++)
    for (int j = 0; j < v; j++) sum[i][j] = splat(0);
  for (index_t l = 0; l < n; l++, panel += v * LANES, a += lda) {
    vec b0 = factors(half, panel), b1 = v > 1 ? factors(half, panel + LANES) : b0;
#pragma GCC unroll 10
    for (int i = 0; i < m; i++) {
      sum[i][0] = plus_product(half, sum[i][0], a + i, b0);
      if (v > 1) sum[i][1] = plus_product(half, sum[i][1], a + i, b1);
    }
  }
  for (int i = 0; i < m; i++)
    for (int j = 0; j < v; j++) {
      real *to = c + i * ldc + j * LANES;
      if ((j + 1) * LANES <= some)
        store(to, add ? load(to) + sum[i][j] : sum[i][j]);
      else
        for (index_t l = 0; j * LANES + l < some; l++) to[l] = add ? to[l] + sum[i][j][l] : sum[i][j][l];
    }
}

/* All columns of up to WIDE / 2 rows. */
INLINE void outer_columns(int half, index_t high, index_t n, index_t k, const real *a, index_t lda,
                          const real *panels, index_t add, real *c, index_t ldc) {
  for (index_t j = 0; j < k; j += 2 * LANES, panels += n * 2 * LANES) {
    index_t some = k - j;
#define OUTER_2(h) outer_tile(half, h, 2, n, a, lda, panels, add, c + j, ldc, some)
#define OUTER_1(h) outer_tile(half, h, 1, n, a, lda, panels, add, c + j, ldc, some)
    if (some > LANES) HALF_TILES(OUTER_2)
    else HALF_TILES(OUTER_1)
  }
}

static void outer_row(index_t high, index_t n, index_t k, const real *a, index_t lda, const real *panels,
                      index_t add, real *c, index_t ldc) {
  outer_columns(0, high, n, k, a, lda, panels, add, c, ldc);
}

/* The gradients of the maps that read one value: of each, c = (gradients of its sums)^T (the value), over
   all n rows, for sums from `from` to `to`; the value has k columns. Rows are taken in pieces, which are
   packed where a tile reads them more than once; `scratch` has room for PIECE rows of the value. */
void outer(index_t n, index_t k, const real *sums, index_t lds, const real *value, index_t ldv,
           const map_t *maps, index_t count, index_t from, index_t to, real *scratch) {
  real packed[PIECE * WIDE] __attribute__((aligned(64)));
  for (index_t l = 0; l < n; l += PIECE) {
    index_t piece = n - l < PIECE ? n - l : PIECE;
    for (index_t j = 0; j < k; j += 2 * LANES) {
      index_t some = k - j < 2 * LANES ? k - j : 2 * LANES, wide = some > LANES ? 2 * LANES : LANES;
      real *panel = scratch + j * piece;
      const real *source = value + l * ldv + j;
      for (index_t i = 0; i < piece; i++, source += ldv)
        for (index_t q = 0; q < wide; q += LANES)
          store(panel + i * wide + q, q + LANES <= some ? load(source + q) : start(source + q, some - q));
    }
    for (const map_t *map = maps; map < maps + count; map++) {
      index_t first = map->column > from ? map->column : from;
      index_t end = map->column + map->width < to ? map->column + map->width : to;
      if (!map->c) continue;
      for (; first < end; first += WIDE) {
        const real *a = sums + l * lds + first;
        index_t lda = lds;
        if (k > 2 * LANES) {
          for (index_t i = 0; i < piece; i++, a += lds) {
            __builtin_prefetch(a + WIDE);
            for (index_t q = 0; q < WIDE; q += LANES) store(packed + i * WIDE + q, load(a + q));
          }
          a = packed, lda = WIDE;
        }
        index_t rows = end - first < WIDE ? end - first : WIDE, high = (rows + 1) / 2;
        real *c = map->c + (first - map->column) * map->ldc;
        outer_row(high, piece, k, a, lda, scratch, l > 0, c, map->ldc);
        c += high * map->ldc;
        if (rows > high) outer_row(rows - high, piece, k, a + high, lda, scratch, l > 0, c, map->ldc);
      }
    }
  }
}

/* c[j] = the sum over n rows of a[l][column + j], for those columns of [from, to). */
void total(index_t n, const real *a, index_t lda, index_t column, index_t width, real *c,
           index_t from, index_t to) {
  for (index_t j = 0; j < width; j += LANES) {
    if (column + j < from || column + j >= to) continue;
    index_t some = width - j < LANES ? width - j : LANES;
    vec sum = splat(0);
    for (index_t l = 0; l < n; l += PIECE) {
      vec part = splat(0);
      for (index_t i = l; i < n && i < l + PIECE; i++) part += load(a + i * lda + column + j);
      sum += part;
    }
    for (index_t q = 0; q < some; q++) c[j + q] = sum[q];
  }
}

/* Gradients of sums by symbol: row s of c is the sum of the rows of a whose token is s. */
void by_symbol(index_t n, index_t symbols, const index_t *tokens, const real *a, real *c, index_t lda,
               index_t from, index_t to) {
  for (index_t s = 0; s < symbols; s++) memset(c + s * lda + from, 0, BYTES(to - from));
  for (index_t l = 0; l < n; l++) {
    real *row = c + tokens[l] * lda;
    for (index_t j = from; j < to; j += LANES) store(row + j, load(row + j) + load(a + l * lda + j));
  }
}

/* Where a state's values at each row of x begin; without the rows of sequences that have ended. */
const real *history(const call_t *call, const real *state, index_t width, index_t shift, const real *gathered) {
  if (call->rows[0] == call->rows[call->steps - 1]) return state + (shift ? call->batch * width : 0);
  return gathered;
}

void gather(const call_t *call, const real *state, index_t width, index_t shift, real *gathered) {
  if (call->rows[0] == call->rows[call->steps - 1]) return;
  for (index_t t = 0; t < call->steps; t++)
    memcpy(gathered + call->offset[t] * width, state + (t + (shift ? 1 : 0)) * call->batch * width,
           BYTES(call->rows[t] * width));
}

/* Rows become columns: step by step, blocks of s x s values beside the diagonal change places. */
INLINE void transpose(vec *r) {
#ifdef __clang__
  vec t[LANES];
  for (int i = 0; i < LANES; i++)
    for (int l = 0; l < LANES; l++) t[i][l] = r[l][i];
  for (int i = 0; i < LANES; i++) r[i] = t[i];
#else
#pragma GCC unroll 4
  for (int s = 1; s < LANES; s *= 2) {
    ivec low, high;
#pragma GCC unroll 16
    for (int l = 0; l < LANES; l++)
      low[l] = l & s ? LANES + l - s : l, high[l] = l & s ? LANES + l : l + s;
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
      if (!(i & s)) {
        vec a = r[i], b = r[i + s];
        r[i] = __builtin_shuffle(a, b, low), r[i + s] = __builtin_shuffle(a, b, high);
      }
  }
#endif
}

/* The panels that `gemm` reads, from a map's weight w: row j of w holds the weights of column j, and the
   argument's own part of a row begins at w. Columns from `width` to `padded` are zero. `n` is the number
   of columns of the whole product, `first` that of the map within it. */
void pack(index_t k, index_t n, index_t first, index_t width, index_t padded, const real *w, index_t ld,
          index_t add, real *panels) {
  for (index_t j = 0; j < padded; j += LANES) {
    index_t panel = (first + j) / (2 * LANES), within = (first + j) % (2 * LANES);
    index_t wide = n - panel * 2 * LANES < 2 * LANES ? LANES : 2 * LANES;
    real *to = panels + panel * 2 * LANES * k + within;
    for (index_t i = 0; i < k; i += LANES) {
      index_t some = k - i < LANES ? k - i : LANES;
      vec tile[LANES];
      for (index_t l = 0; l < LANES; l++) {
        const real *from = w + (j + l) * ld + i;
        tile[l] = j + l >= width ? splat(0) : some == LANES ? load(from) : start(from, some);
      }
      transpose(tile);
      for (index_t l = 0; l < some; l++) {
        real *column = to + (i + l) * wide;
        store(column, add ? load(column) + tile[l] : tile[l]);
      }
    }
  }
}

/* The panels of the transpose, for the way back: `rows` columns of the product become rows, and the
   argument's `k` values columns, padded with zeros. */
void pack_back(index_t k, index_t padded_k, index_t rows, index_t first, index_t width, index_t padded,
               const real *w, index_t ld, index_t add, real *panels) {
  for (index_t i = 0; i < padded_k; i += 2 * LANES) {
    index_t wide = padded_k - i < 2 * LANES ? padded_k - i : 2 * LANES;
    real *to = panels + i * rows + first * wide;
    for (index_t j = 0; j < padded; j++, to += wide)
      for (index_t l = 0; l < wide; l += LANES) {
        const real *from = w + j * ld + i + l;
        index_t some = j < width ? k - i - l : 0;
        vec row = some >= LANES ? load(from) : start(from, some < 0 ? 0 : some);
        store(to + l, add ? load(to + l) + row : row);
      }
  }
}

/* Threads own members, or sequences of the batch: none waits for another within the loop. */
typedef struct {
  const parts_t *parts;
  real **table;
  const call_t *call;
  index_t part, count;
} share_t;

static void *members_of(void *given) {
  const share_t *s = given;
  index_t members = s->call->members;
  for (index_t m = members * s->part / s->count; m < members * (s->part + 1) / s->count; m++) {
    real **p = s->table + m * s->call->slots;
    s->parts->before(p, s->call);
    s->parts->rows(p, s->call, 0, s->call->batch, 0);
    if (s->parts->columns) s->parts->columns(p, s->call, 0, 1);
    if (s->parts->inputs) s->parts->inputs(p, s->call, 0, 1);
  }
  return 0;
}

static void *rows_of_batch(void *given) {
  const share_t *s = given;
  index_t batch = s->call->batch;
  s->parts->rows(s->table, s->call, batch * s->part / s->count, batch * (s->part + 1) / s->count, s->part);
  return 0;
}

static void *columns_of_sums(void *given) {
  const share_t *s = given;
  s->parts->columns(s->table, s->call, s->part, s->count);
  return 0;
}

static void *rows_of_input(void *given) {
  const share_t *s = given;
  s->parts->inputs(s->table, s->call, s->part, s->count);
  return 0;
}

static void share(void *(*body)(void *), const parts_t *parts, real **table, const call_t *call,
                  index_t threads) {
  unsigned long ids[MOST_THREADS];
  share_t shares[MOST_THREADS];
  int fails[MOST_THREADS];
  for (index_t w = 0; w < threads; w++) shares[w] = (share_t){parts, table, call, w, threads};
  for (index_t w = 1; w < threads; w++) fails[w] = pthread_create(ids + w, 0, body, shares + w);
  body(shares);
  for (index_t w = 1; w < threads; w++) {
    if (fails[w]) body(shares + w);
    else pthread_join(ids[w], 0);
  }
}

void run(const parts_t *parts, real **table, const call_t *call) {
  index_t threads = call->threads;
  if (call->members > 1 || threads < 2) {
    share(members_of, parts, table, call, threads < call->members ? threads : call->members);
    return;
  }
  parts->before(table, call);
  share(rows_of_batch, parts, table, call, threads);
  if (parts->columns) share(columns_of_sums, parts, table, call, threads);
  if (parts->inputs) share(rows_of_input, parts, table, call, threads);
}
