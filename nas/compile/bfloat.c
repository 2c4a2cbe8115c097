/* The products of gemm.c with bfloat16 factors and float32 sums, on processors that have them: two terms an
   instruction. Factors of neighbouring terms lie in one 32-bit word, the first in its lower half. Vectors
   hold as many words as floats, so that panels take half of their room. */
#ifdef HALVES
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
    const real *panel = panels;
    index_t j = 0;
    for (; j + LANES < n; j += 2 * LANES, panel += pairs * 2 * LANES)
      rows_of(1, 2, some, pairs, (const real *)rows, ld, panel, init + j, ldi, c + j, ldc);
    if (j < n) rows_of(1, 1, some, pairs, (const real *)rows, ld, panel, init + j, ldi, c + j, ldc);
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

static void outer_row_of_halves(index_t high, index_t pairs, index_t k, const unsigned *a, const real *panels,
                                index_t add, real *c, index_t ldc) {
  outer_columns(1, high, pairs, k, (const real *)a, WIDE, panels, add, c, ldc);
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
        outer_row_of_halves(high, pairs, k, packed, scratch, l > 0, c, map->ldc);
        c += high * map->ldc;
        if (rows > high)
          outer_row_of_halves(rows - high, pairs, k, packed + high, scratch, l > 0, c, map->ldc);
      }
    }
  }
}
#endif
