/* Products of a few rows with a matrix that is packed once a sequence: panels of two vectors of columns,
   so that a tile of ROWS x 2 sums stays in registers. After prelude.c. */
#define ROWS 6

INLINE void tile(int m, int v, index_t k, const real *a, index_t lda, const real *panel,
                 const real *init, index_t ldi, real *c, index_t ldc) {
  vec sum[ROWS][2];
  for (int i = 0; i < m; i++)
    for (int j = 0; j < v; j++) sum[i][j] = load(init + i * ldi + j * LANES);
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
    for (int j = 0; j < v; j++) store(c + i * ldc + j * LANES, sum[i][j]);
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

/* c[m][n] = init[m][n] + a[m][k] b[k][n]; n a multiple of LANES; ldi = 0 repeats one row of init. */
void gemm(index_t m, index_t k, index_t n, const real *a, index_t lda, const real *panels,
          const real *init, index_t ldi, real *c, index_t ldc) {
  index_t j = 0;
  for (; j + 2 * LANES <= n; j += 2 * LANES, panels += k * 2 * LANES)
    rows_of(2, m, k, a, lda, panels, init + j, ldi, c + j, ldc);
  if (j < n) rows_of(1, m, k, a, lda, panels, init + j, ldi, c + j, ldc);
}

/* Panels of b[k][n], its element (i, j) at b[i * down + j * across], columns from `real_n` on zero. */
void pack(index_t k, index_t n, index_t real_n, const real *b, index_t down, index_t across, real *panels) {
  for (index_t j = 0; j < n; j += 2 * LANES) {
    index_t wide = n - j < 2 * LANES ? n - j : 2 * LANES;
    for (index_t i = 0; i < k; i++)
      for (index_t l = 0; l < wide; l++)
        *panels++ = j + l < real_n ? b[i * down + (j + l) * across] : 0;
  }
}
