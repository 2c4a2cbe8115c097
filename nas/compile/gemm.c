/* Products of a few rows with a matrix that is packed once a sequence: panels of two vectors of columns,
   so that a tile of ROWS x 2 sums stays in registers. After prelude.c. */
#define ROWS 6
#define PIECE 128

INLINE void tile(int m, int v, index_t k, const real *a, index_t lda, const real *panel,
                 const real *init, index_t ldi, real *c, index_t ldc) {
  vec sum[ROWS][2];
  for (int i = 0; i < m; i++)
    for (int j = 0; j < v; j++) sum[i][j] = splat(0);
  for (index_t l = 0; l < k; l++, panel += v * LANES) {
    vec b0 = load(panel), b1 = v > 1 ? load(panel + LANES) : b0;
#pragma GCC unroll 6
    for (int i = 0; i < m; i++) {
      real s = a[i * lda + l];
      sum[i][0] += s * b0;
      if (v > 1) sum[i][1] += s * b1;
    }
  }
  for (int i = 0; i < m; i++)
    for (int j = 0; j < v; j++)
      store(c + i * ldc + j * LANES, load(init + i * ldi + j * LANES) + sum[i][j]);
}

INLINE void rows_of(int v, index_t m, index_t k, const real *a, index_t lda, const real *panel,
                    const real *init, index_t ldi, real *c, index_t ldc) {
  for (; m >= ROWS; m -= ROWS, a += ROWS * lda, init += ROWS * ldi, c += ROWS * ldc)
    tile(ROWS, v, k, a, lda, panel, init, ldi, c, ldc);
  switch (m) {
    case 1: tile(1, v, k, a, lda, panel, init, ldi, c, ldc); break;
    case 2: tile(2, v, k, a, lda, panel, init, ldi, c, ldc); break;
    case 3: tile(3, v, k, a, lda, panel, init, ldi, c, ldc); break;
    case 4: tile(4, v, k, a, lda, panel, init, ldi, c, ldc); break;
    case 5: tile(5, v, k, a, lda, panel, init, ldi, c, ldc); break;
  }
}

/* The products of two or one vectors of columns, in pieces of k: sums of some hundred terms are rounded
   about as often as those of other libraries. */
INLINE void columns_of(int v, index_t m, index_t k, const real *a, index_t lda, const real *panel,
                       const real *init, index_t ldi, real *c, index_t ldc) {
  for (; k > PIECE; k -= PIECE, a += PIECE, panel += PIECE * v * LANES, init = c, ldi = ldc)
    rows_of(v, m, PIECE, a, lda, panel, init, ldi, c, ldc);
  rows_of(v, m, k, a, lda, panel, init, ldi, c, ldc);
}

/* c[m][n] = init[m][n] + a[m][k] b[k][n]; n a multiple of LANES; ldi = 0 repeats one row of init. */
void gemm(index_t m, index_t k, index_t n, const real *a, index_t lda, const real *panels,
          const real *init, index_t ldi, real *c, index_t ldc) {
  index_t j = 0;
  for (; j + 2 * LANES <= n; j += 2 * LANES, panels += k * 2 * LANES)
    columns_of(2, m, k, a, lda, panels, init + j, ldi, c + j, ldc);
  if (j < n) columns_of(1, m, k, a, lda, panels, init + j, ldi, c + j, ldc);
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
    index_t some = width - j < LANES ? width - j : LANES;
    for (index_t l = 0; l < LANES; l++) {
      const real *from = w + (j + l) * ld;
      for (index_t i = 0; i < k; i++) {
        real value = l < some ? from[i] : 0;
        to[i * wide + l] = add ? to[i * wide + l] + value : value;
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
    index_t some = k - i < wide ? k - i : wide;
    real *to = panels + i * rows + first * wide;
    for (index_t j = 0; j < padded; j++, to += wide) {
      const real *from = w + j * ld + i;
      for (index_t l = 0; l < wide; l++) {
        real value = j < width && l < some ? from[l] : 0;
        to[l] = add ? to[l] + value : value;
      }
    }
  }
}
