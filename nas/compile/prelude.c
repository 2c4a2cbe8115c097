/* Vector types and functions of the generated loops. One vector is 64 bytes: 16 floats or 8 doubles. No
   headers: they would take as long to read as the loop to compile. NaN and infinity pass through. */
typedef long index_t;
#ifdef DOUBLE
typedef double real;
typedef long integer;
#define LANES 8
#define SUFFIX(name) name
#define SIGN (1L << 63)
#define PRODUCT(name) nas_##name##_f64
#else
typedef float real;
typedef int integer;
#define LANES 16
#define SUFFIX(name) name##f
#define SIGN (1 << 31)
#define PRODUCT(name) nas_##name##_f32
#endif
#define gemm PRODUCT(gemm)
#define by_row PRODUCT(by_row)
#define outer PRODUCT(outer)
#define total PRODUCT(total)
#define by_symbol PRODUCT(by_symbol)
#define history PRODUCT(history)
#define gather PRODUCT(gather)
#define pack PRODUCT(pack)
#define pack_back PRODUCT(pack_back)
#define run PRODUCT(run)
typedef real vec __attribute__((vector_size(64), aligned(4)));
typedef integer ivec __attribute__((vector_size(64), aligned(4)));
#define INLINE static inline __attribute__((always_inline))
#define BYTES(count) ((unsigned long)(count) * sizeof(real))

/* What a call of a loop is told beside the pointers to its values. */
typedef struct {
  index_t members, slots, steps, batch, reverse, inputs, keep, threads, direct;
  const index_t *rows, *offset, *tokens;
} call_t;
/* What each member of a call goes through: once before the loop; the loop, over some sequences; after it
   what columns of sums lead to, then what rows of the input do. */
typedef struct {
  void (*before)(real **, const call_t *);
  void (*rows)(real **, const call_t *, index_t from, index_t to, index_t thread);
  void (*columns)(real **, const call_t *, index_t part, index_t parts);
  void (*inputs)(real **, const call_t *, index_t part, index_t parts);
} parts_t;
/* The gradient of a map's matrix, of which each row belongs to one of `width` sums from `column` on. */
typedef struct { index_t column, width; real *c; index_t ldc; } map_t;
#define MOST_THREADS 64
extern int pthread_create(unsigned long *, const void *, void *(*)(void *), void *);
extern int pthread_join(unsigned long, void **);
extern void *memcpy(void *, const void *, unsigned long);
extern void *memset(void *, int, unsigned long);
extern real SUFFIX(log)(real), SUFFIX(log1p)(real), SUFFIX(sin)(real), SUFFIX(cos)(real);
extern real SUFFIX(erf)(real), SUFFIX(sqrt)(real);

INLINE vec load(const real *p) { return *(const vec *)p; }
INLINE void store(real *p, vec a) { *(vec *)p = a; }
INLINE vec splat(real a) { return a - (vec){}; } /* minus: -0 stays -0, and compilers leave it out */
INLINE vec pick(ivec m, vec a, vec b) { return (vec)((m & (ivec)a) | (~m & (ivec)b)); }

INLINE vec v_abs(vec a) { return (vec)((ivec)a & ~SIGN); }
INLINE vec with_sign(vec a, vec b) { return (vec)((ivec)a | ((ivec)b & SIGN)); }
INLINE vec v_square(vec a) { return a * a; }
INLINE vec v_sign(vec a) { return pick(a > 0, splat(1), pick(a < 0, splat(-1), splat(0))); }
INLINE vec v_max(vec a, vec b) { return pick((a > b) | (a != a), a, b); }
INLINE vec v_min(vec a, vec b) { return pick((a < b) | (a != a), a, b); }
INLINE vec v_relu(vec a) { return pick(a < 0, splat(0), a); }

#define BY_LANE(name, call) \
  INLINE vec name(vec a) { vec y; for (int i = 0; i < LANES; i++) { real x = a[i]; y[i] = call; } return y; }
BY_LANE(v_sqrt, SUFFIX(__builtin_sqrt)(x))
BY_LANE(v_log, SUFFIX(log)(x))
BY_LANE(v_log1p, SUFFIX(log1p)(x))
BY_LANE(v_floor, SUFFIX(__builtin_floor)(x))
BY_LANE(v_sin, SUFFIX(sin)(x))
BY_LANE(v_cos, SUFFIX(cos)(x))
BY_LANE(v_erf, SUFFIX(erf)(x))

/* exp, tanh after Cephes (Moshier): argument reduction, then a polynomial or a rational function. */
#ifdef DOUBLE
#define P "pd"
#define LOG2_E 1.4426950408889634073599
#define LN2_HIGH 6.93145751953125E-1
#define LN2_LOW 1.42860682030941723212E-6
#define WHOLE 6755399441055744.0 /* added and taken away, it rounds to a whole number */
#define HIGHEST 709.782712893384
#define LOWEST -745.2
#define BIAS 1023
#define MANTISSA 52
#else
#define P "ps"
#define LOG2_E 1.44269504088896341f
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#define WHOLE 12582912.0f
#define HIGHEST 88.72283905f
#define LOWEST -104.0f
#define BIAS 127
#define MANTISSA 23
#endif
INLINE vec whole(vec a) { return (a + WHOLE) - WHOLE; }
#ifdef __AVX512F__
/* By instruction: of two values a minimum gives the second if one is not a number; a scaling overflows to
   infinity and underflows to zero by itself. */
INLINE vec within(vec a, vec low, vec high) {
  __asm__("vmin" P " %1, %2, %0" : "=v"(a) : "v"(a), "v"(high));
  __asm__("vmax" P " %1, %2, %0" : "=v"(a) : "v"(a), "v"(low));
  return a;
}
INLINE vec scaled(vec a, vec n, vec given) {
  (void)given;
  __asm__("vscalef" P " %2, %1, %0" : "=v"(a) : "v"(a), "v"(n));
  return a;
}
#else
INLINE vec within(vec a, vec low, vec high) { return pick(a > high, high, pick(a < low, low, a)); }
INLINE vec two_to(vec n) { return (vec)((__builtin_convertvector(n, ivec) + BIAS) << MANTISSA); }
INLINE vec scaled(vec a, vec n, vec given) {
  vec half = whole(n * 0.5f);
  vec y = pick(given > HIGHEST, splat(__builtin_inf()), a * two_to(half) * two_to(n - half));
  return pick(given < LOWEST, splat(0), y);
}
#endif
INLINE vec v_exp(vec a) {
  vec x = within(a, splat(LOWEST - 1), splat(HIGHEST + 1));
  vec n = whole(x * LOG2_E);
  vec r = x - n * LN2_HIGH - n * LN2_LOW;
#ifdef DOUBLE
  vec z = r * r;
  vec p = r * ((1.26177193074810590878E-4 * z + 3.02994407707441961300E-2) * z + 9.99999999999999999910E-1);
  vec q = ((3.00198505138664455042E-6 * z + 2.52448340349684104192E-3) * z + 2.27265548208155028766E-1) * z + 2.0;
  vec y = 1.0 + 2.0 * (p / (q - p));
#else
  vec p = 1.9875691500E-4f * r + 1.3981999507E-3f;
  p = p * r + 8.3334519073E-3f;
  p = p * r + 4.1665795894E-2f;
  p = p * r + 1.6666665459E-1f;
  p = p * r + 5.0000001201E-1f;
  vec y = p * (r * r) + r + 1.0f;
#endif
  return scaled(y, n, a);
}
INLINE vec v_tanh(vec a) {
  vec z = a * a, m = v_abs(a);
#ifdef DOUBLE
  vec p = (-9.64399179425052238628E-1 * z - 9.92877231001918586564E1) * z - 1.61468768441708447952E3;
  vec q = ((z + 1.12811678491631932402E2) * z + 2.23548839060100448583E3) * z + 4.84406305325125486048E3;
  vec near = m + m * z * (p / q);
#else
  vec p = -5.70498872745E-3f * z + 2.06390887954E-2f;
  p = p * z - 5.37397155531E-2f;
  p = p * z + 1.33314422036E-1f;
  p = p * z - 3.33332819422E-1f;
  vec near = m + m * z * p;
#endif
  vec far = 1 - 2 / (v_exp(2 * m) + 1);
  return with_sign(pick(m < (real)0.625, near, far), a);
}
INLINE vec v_sigmoid(vec a) { return 1 / (1 + v_exp(-a)); }
INLINE vec v_softplus(vec a) { return v_relu(a) + v_log1p(v_exp(-v_abs(a))); }
INLINE real row_total(vec a) { real sum = 0; for (int i = 0; i < LANES; i++) sum += a[i]; return sum; }
INLINE real row_largest(vec a) {
  real most = a[0];
  for (int i = 1; i < LANES; i++) most = a[i] > most || a[i] != a[i] ? a[i] : most;
  return most;
}
/* The first `count` lanes; the others are zero. */
INLINE vec only(vec a, index_t count) {
  for (index_t i = 0; i < LANES; i++) a[i] = i < count ? a[i] : 0;
  return a;
}
/* A vector of which `count` values are there, zeros after them. */
INLINE vec start(const real *p, index_t count) {
  vec a = splat(0);
  for (index_t i = 0; i < count; i++) a[i] = p[i];
  return a;
}
/* A row of `width` values, zero up to `padded`; all zero without a source. Not inline: a tenth of the time
   of compiling a loop. */
static __attribute__((noinline)) void put_row(real *to, const real *from, index_t width, index_t padded) {
  for (index_t i = 0; i < padded; i++) to[i] = from && i < width ? from[i] : 0;
}
