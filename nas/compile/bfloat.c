/* The products of gemm.c with bfloat16 factors and float32 sums, on processors that have them: two terms an
   instruction. Factors of neighbouring terms lie in one 32-bit word, the first in its lower half. Vectors
   hold as many words as floats, so that panels take half of their room. */
#if defined(__AVX512BF16__) && !defined(DOUBLE)
typedef unsigned words __attribute__((vector_size(64), aligned(4)));
typedef short halves __attribute__((vector_size(32), aligned(2)));
#define ROUNDED 3 /* tiles of rows that are rounded at a time */

/* As a bfloat16 in the lower half of each word, rounded to the nearest; what is not a number stays so. */
INLINE words rounded(vec a) {
  halves h;
  words w;
  __asm__("vcvtneps2bf16 %1, %0" : "=v"(h) : "v"(a));
  __asm__("vpmovzxwd %1, %0" : "=v"(w) : "v"(h));
  return w;
}
INLINE unsigned short half_of(real a) { return (unsigned short)rounded(splat(a))[0]; }
INLINE real value_of(unsigned short a) {
  union { unsigned word; real value; } both = {(unsigned)a << 16};
  return both.value;
}
INLINE vec dot(vec sum, words a, words b) {
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}
INLINE words word_at(const unsigned *p) { return *p - (words){}; }

INLINE void tile_of_halves(int m, int v, index_t pairs, const unsigned *a, index_t lda, const unsigned *panel,
                           const real *init, index_t ldi, real *c, index_t ldc) {
  vec sum[HIGH][2];
  for (int i = 0; i < m; i++)
    for (int j = 0; j < v; j++) sum[i][j] = splat(0);
  for (index_t l = 0; l < pairs; l++, panel += v * LANES) {
    words b0 = *(const words *)panel, b1 = v > 1 ? *(const words *)(panel + LANES) : b0;
#pragma GCC unroll 10
    for (int i = 0; i < m; i++) {
      words s = word_at(a + i * lda + l);
      sum[i][0] = dot(sum[i][0], b0, s);
      if (v > 1) sum[i][1] = dot(sum[i][1], b1, s);
    }
  }
  for (int i = 0; i < m; i++)
    for (int j = 0; j < v; j++)
      store(c + i * ldc + j * LANES, load(init + i * ldi + j * LANES) + sum[i][j]);
}

static void rows_of_halves(index_t high, int v, index_t pairs, const unsigned *a, index_t lda,
                           const unsigned *panel, const real *init, index_t ldi, real *c, index_t ldc) {
#define HALVES_2(h) tile_of_halves(h, 2, pairs, a, lda, panel, init, ldi, c, ldc)
#define HALVES_1(h) tile_of_halves(h, 1, pairs, a, lda, panel, init, ldi, c, ldc)
  if (v > 1) TILES(HALVES_2)
  else TILES(HALVES_1)
}

void nas_gemm_b16(index_t m, index_t k, index_t n, const real *a, index_t lda, const real *panels,
                  const real *init, index_t ldi, real *c, index_t ldc) {
  index_t pairs = (k + 1) / 2, ld = (k + LANES - 1) / LANES * LANES / 2;
  unsigned *rows = __builtin_alloca(ROUNDED * HIGH * ld * sizeof(unsigned));
  while (m > 0) {
    index_t some = m < ROUNDED * HIGH ? m : ROUNDED * HIGH;
    for (index_t i = 0; i < some; i++)
      for (index_t l = 0; l < k; l += LANES) {
        vec given = l + LANES <= k ? load(a + i * lda + l) : start(a + i * lda + l, k - l);
        halves h;
        __asm__("vcvtneps2bf16 %1, %0" : "=v"(h) : "v"(given));
        *(halves *)(rows + i * ld + l / 2) = h;
      }
    const unsigned *panel = (const unsigned *)panels;
    for (index_t j = 0; j < n; j += 2 * LANES) {
      int v = n - j > LANES ? 2 : 1;
      for (index_t tiles = (some + HIGH - 1) / HIGH, i = 0; tiles; tiles--) {
        index_t high = (some - i + tiles - 1) / tiles;
        rows_of_halves(high, v, pairs, rows + i * ld, ld, panel, init + i * ldi + j, ldi, c + i * ldc + j, ldc);
        i += high;
      }
      panel += pairs * v * LANES;
    }
    m -= some, a += some * lda, init += some * ldi, c += some * ldc;
  }
}

/* Where the factor of term i and column l of a panel of `wide` columns lies. */
INLINE unsigned short *half_at(unsigned short *panel, index_t wide, index_t i, index_t l) {
  return panel + (i / 2 * wide + l) * 2 + i % 2;
}

INLINE void put_half(unsigned short *to, real value, index_t add) {
  *to = half_of(add ? value_of(*to) + value : value);
}

/* Words of two rows below each other, of up to LANES columns; the second row may be missing. */
INLINE words two_rows(const real *a, index_t lda, index_t second, index_t some) {
  vec low = some < LANES ? start(a, some) : load(a), high = splat(0);
  if (second) high = some < LANES ? start(a + lda, some) : load(a + lda);
  return rounded(low) | rounded(high) << 16;
}

/* A map that reads one value twice adds its second matrix to the first. */
void nas_pack_b16(index_t k, index_t n, index_t first, index_t width, index_t padded, const real *w, index_t ld,
                  index_t add, real *panels) {
  index_t pairs = (k + 1) / 2;
  for (index_t j = 0; j < padded; j++) {
    index_t panel = (first + j) / (2 * LANES), within = (first + j) % (2 * LANES);
    index_t wide = n - panel * 2 * LANES < 2 * LANES ? LANES : 2 * LANES;
    unsigned *to = (unsigned *)panels + panel * 2 * LANES * pairs + within;
    for (index_t i = 0; i < k; i += LANES) {
      vec given = j >= width ? splat(0) : i + LANES <= k ? load(w + j * ld + i) : start(w + j * ld + i, k - i);
      union { halves h; unsigned pair[LANES / 2]; } both;
      __asm__("vcvtneps2bf16 %1, %0" : "=v"(both.h) : "v"(given));
      for (index_t l = 0; l < LANES / 2 && i / 2 + l < pairs; l++)
        if (!add) to[(i / 2 + l) * wide] = both.pair[l];
    }
    for (index_t i = 0; add && j < width && i < k; i++)
      put_half(half_at((unsigned short *)(to - within), wide, i, within), w[j * ld + i], 1);
  }
}

void nas_pack_back_b16(index_t k, index_t padded_k, index_t rows, index_t first, index_t width, index_t padded,
                       const real *w, index_t ld, index_t add, real *panels) {
  for (index_t i = 0; i < padded_k; i += 2 * LANES) {
    index_t wide = padded_k - i < 2 * LANES ? padded_k - i : 2 * LANES;
    index_t some = k - i < wide ? k - i : wide;
    unsigned *to = (unsigned *)panels + i * rows / 2;
    for (index_t j = 0; !add && j < padded; j += 2)
      for (index_t l = 0; l < wide; l += LANES) {
        words both = {};
        if (j < width && l < some) both = two_rows(w + j * ld + i + l, ld, j + 1 < width, some - l);
        *(words *)(to + (first + j) / 2 * wide + l) = both;
      }
    for (index_t j = 0; add && j < width; j++)
      for (index_t l = 0; l < some; l++)
        put_half(half_at((unsigned short *)to, wide, first + j, l), w[j * ld + i + l], 1);
  }
}

INLINE void outer_halves(int m, int v, index_t pairs, const unsigned *a, const unsigned *panel, index_t add,
                         real *c, index_t ldc, index_t some) {
  vec sum[WIDE / 2][2];
  for (int i = 0; i < m; i++)
    for (int j = 0; j < v; j++) sum[i][j] = splat(0);
  for (index_t l = 0; l < pairs; l++, panel += v * LANES, a += WIDE) {
    words b0 = *(const words *)panel, b1 = v > 1 ? *(const words *)(panel + LANES) : b0;
#pragma GCC unroll 8
    for (int i = 0; i < m; i++) {
      words s = word_at(a + i);
      sum[i][0] = dot(sum[i][0], b0, s);
      if (v > 1) sum[i][1] = dot(sum[i][1], b1, s);
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

static void outer_row_of_halves(index_t high, index_t pairs, index_t k, const unsigned *a,
                                const unsigned *panels, index_t add, real *c, index_t ldc) {
  for (index_t j = 0; j < k; j += 2 * LANES, panels += pairs * 2 * LANES) {
    index_t some = k - j;
#define OUTER_HALVES_2(h) outer_halves(h, 2, pairs, a, panels, add, c + j, ldc, some)
#define OUTER_HALVES_1(h) outer_halves(h, 1, pairs, a, panels, add, c + j, ldc, some)
    if (some > LANES) HALF_TILES(OUTER_HALVES_2)
    else HALF_TILES(OUTER_HALVES_1)
  }
}

void nas_outer_b16(index_t n, index_t k, const real *sums, index_t lds, const real *value, index_t ldv,
                   const map_t *maps, index_t count, index_t from, index_t to, real *scratch) {
  unsigned packed[PIECE / 2 * WIDE] __attribute__((aligned(64)));
  for (index_t l = 0; l < n; l += PIECE) {
    index_t piece = n - l < PIECE ? n - l : PIECE, pairs = (piece + 1) / 2;
    for (index_t j = 0; j < k; j += 2 * LANES) {
      index_t some = k - j < 2 * LANES ? k - j : 2 * LANES, wide = some > LANES ? 2 * LANES : LANES;
      unsigned *panel = (unsigned *)scratch + j * pairs;
      for (index_t i = 0; i < piece; i += 2)
        for (index_t q = 0; q < wide; q += LANES)
          *(words *)(panel + i / 2 * wide + q) =
              two_rows(value + (l + i) * ldv + j + q, ldv, i + 1 < piece, some - q);
    }
    for (const map_t *map = maps; map < maps + count; map++) {
      index_t first = map->column > from ? map->column : from;
      index_t end = map->column + map->width < to ? map->column + map->width : to;
      if (!map->c) continue;
      for (; first < end; first += WIDE) {
        for (index_t i = 0; i < piece; i += 2)
          *(words *)(packed + i / 2 * WIDE) = two_rows(sums + (l + i) * lds + first, lds, i + 1 < piece, LANES);
        index_t rows = end - first < WIDE ? end - first : WIDE, high = (rows + 1) / 2;
        real *c = map->c + (first - map->column) * map->ldc;
        outer_row_of_halves(high, pairs, k, packed, (unsigned *)scratch, l > 0, c, map->ldc);
        c += high * map->ldc;
        if (rows > high)
          outer_row_of_halves(rows - high, pairs, k, packed + high, (unsigned *)scratch, l > 0, c, map->ldc);
      }
    }
  }
}
#endif
