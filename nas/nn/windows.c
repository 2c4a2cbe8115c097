/* The windows of DRAW (Gregor et al. 2015, equations 21 to 26, 28 and 29) and their gradients, image after
   image. N is the number of filters along an edge of a window, SIDE that of pixels of an image; the five
   numbers of a window are explained in nas/nn/draw.py, which has the same in torch. A row is an image of
   a member; the pictures that are looked at are those of all members. */
#pragma GCC optimize("O3")
extern real SUFFIX(exp)(real);
#define MOST 10
#define PIXELS (SIDE * SIDE)
typedef struct { real centre[2], variance, stride, intensity; int held[3]; } window_t;

INLINE real exponential(real a, int *held) {
  *held = !(a >= -MOST && a <= MOST);
  return SUFFIX(exp)(a < -MOST ? -MOST : a > MOST ? MOST : a);
}

INLINE window_t window_of(const real *five) {
  window_t w;
  for (int axis = 0; axis < 2; axis++) w.centre[axis] = (real)(SIDE + 1) / 2 * (five[axis] + 1);
  w.variance = exponential(five[2], &w.held[0]);
  w.stride = (real)(SIDE - 1) / (N > 1 ? N - 1 : 1) * exponential(five[3], &w.held[1]);
  w.intensity = exponential(five[4], &w.held[2]);
  return w;
}

INLINE real place(int i) { return (real)(i + 1) - (real)N / 2 - (real)0.5; }

/* The filters along the columns, then along the rows, (2, N, SIDE); each sums to 1. */
INLINE void filters(const window_t *w, real f[2][N][SIDE]) {
  for (int axis = 0; axis < 2; axis++)
    for (int i = 0; i < N; i++) {
      real mean = w->centre[axis] + w->stride * place(i), largest = -__builtin_inf(), sum = 0;
      real *row = f[axis][i];
      for (int p = 0; p < SIDE; p++) {
        real off = (real)(p + 1) - mean;
        row[p] = off * off / (-2 * w->variance);
        largest = row[p] > largest ? row[p] : largest;
      }
      for (int p = 0; p < SIDE; p++) sum += row[p] = SUFFIX(exp)(row[p] - largest);
      for (int p = 0; p < SIDE; p++) row[p] /= sum;
    }
}

/* From the gradients of filters and of the logarithm of the intensity to those of the five numbers. */
INLINE void back(const window_t *w, real f[2][N][SIDE], real df[2][N][SIDE], real intensity, real *five) {
  real variance = 0, stride = 0;
  for (int axis = 0; axis < 2; axis++) {
    real centre = 0;
    for (int i = 0; i < N; i++) {
      real shift = place(i), mean = w->centre[axis] + w->stride * shift, sum = 0, along = 0, wide = 0;
      for (int p = 0; p < SIDE; p++) sum += f[axis][i][p] * df[axis][i][p];
      for (int p = 0; p < SIDE; p++) {
        real off = (real)(p + 1) - mean, d = f[axis][i][p] * (df[axis][i][p] - sum);
        along += d * off;
        wide += d * off * off;
      }
      centre += along / w->variance;
      stride += along / w->variance * shift;
      variance += wide / (2 * w->variance);
    }
    five[axis] = centre * (real)(SIDE + 1) / 2;
  }
  five[2] = w->held[0] ? 0 : variance;
  five[3] = w->held[1] ? 0 : stride * w->stride;
  five[4] = w->held[2] ? 0 : intensity;
}

/* out = a (N, SIDE) times b (SIDE, SIDE). */
INLINE void times(real a[N][SIDE], const real *b, real out[N][SIDE]) {
  for (int i = 0; i < N; i++) {
    for (int p = 0; p < SIDE; p++) out[i][p] = 0;
    for (int q = 0; q < SIDE; q++)
      for (int p = 0; p < SIDE; p++) out[i][p] += a[i][q] * b[q * SIDE + p];
  }
}

/* out = a (N, N) times b (N, SIDE). */
INLINE void spread(const real *a, real b[N][SIDE], real out[N][SIDE]) {
  for (int i = 0; i < N; i++) {
    for (int p = 0; p < SIDE; p++) out[i][p] = 0;
    for (int j = 0; j < N; j++)
      for (int p = 0; p < SIDE; p++) out[i][p] += a[i * N + j] * b[j][p];
  }
}

/* out (SIDE, SIDE) += the transpose of a (N, SIDE) times b (N, SIDE). */
INLINE void outward(real a[N][SIDE], real b[N][SIDE], real *out) {
  for (int i = 0; i < N; i++)
    for (int q = 0; q < SIDE; q++)
      for (int p = 0; p < SIDE; p++) out[q * SIDE + p] += a[i][q] * b[i][p];
}

INLINE real inner(const real *a, const real *b) {
  real sum = 0;
  for (int p = 0; p < SIDE; p++) sum += a[p] * b[p];
  return sum;
}

INLINE real sigmoid_of(real a) { return 1 / (1 + SUFFIX(exp)(-a)); }

/* What windows show of pictures and of what canvases lack: patch (rows, 2, N, N). */
void look(const real *pictures, const real *canvas, const real *five, real *patch, index_t n_pictures,
          index_t rows) {
  for (index_t r = 0; r < rows; r++) {
    window_t w = window_of(five + 5 * r);
    real f[2][N][SIDE], seen[N][SIDE], lacks[PIXELS];
    const real *picture = pictures + r % n_pictures * PIXELS;
    filters(&w, f);
    for (int p = 0; p < PIXELS; p++) lacks[p] = picture[p] - sigmoid_of(canvas[r * PIXELS + p]);
    for (int channel = 0; channel < 2; channel++) {
      times(f[1], channel ? lacks : picture, seen);
      for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
          patch[((r * 2 + channel) * N + i) * N + j] = w.intensity * inner(seen[i], f[0][j]);
    }
  }
}

void look_back(const real *pictures, const real *canvas, const real *five, const real *d_patch,
               real *d_canvas, real *d_five, index_t n_pictures, index_t rows) {
  for (index_t r = 0; r < rows; r++) {
    window_t w = window_of(five + 5 * r);
    real f[2][N][SIDE], df[2][N][SIDE] = {0}, seen[N][SIDE], along[N][SIDE], d[N * N];
    real light[PIXELS], lacks[PIXELS], d_lacks[PIXELS] = {0}, intensity = 0;
    const real *picture = pictures + r % n_pictures * PIXELS;
    filters(&w, f);
    for (int p = 0; p < PIXELS; p++) light[p] = sigmoid_of(canvas[r * PIXELS + p]);
    for (int p = 0; p < PIXELS; p++) lacks[p] = picture[p] - light[p];
    for (int channel = 0; channel < 2; channel++) {
      const real *shown = channel ? lacks : picture;
      times(f[1], shown, seen);
      for (int k = 0; k < N * N; k++) d[k] = w.intensity * d_patch[(r * 2 + channel) * N * N + k];
      for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) intensity += d[i * N + j] * inner(seen[i], f[0][j]);
      for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
          for (int p = 0; p < SIDE; p++) df[0][j][p] += d[i * N + j] * seen[i][p];
      spread(d, f[0], along);
      for (int i = 0; i < N; i++)
        for (int q = 0; q < SIDE; q++) df[1][i][q] += inner(along[i], shown + q * SIDE);
    }
    outward(f[1], along, d_lacks); /* of the last channel */
    for (int p = 0; p < PIXELS; p++) d_canvas[r * PIXELS + p] = -d_lacks[p] * light[p] * (1 - light[p]);
    back(&w, f, df, intensity, d_five + 5 * r);
  }
}

/* Canvases with patches (rows, N, N) added at their windows. */
void write_on(const real *before, const real *patch, const real *five, real *canvas, index_t rows) {
  for (index_t r = 0; r < rows; r++) {
    window_t w = window_of(five + 5 * r);
    real f[2][N][SIDE], share[N * N], along[N][SIDE], added[PIXELS] = {0};
    filters(&w, f);
    for (int k = 0; k < N * N; k++) share[k] = patch[r * N * N + k] / w.intensity;
    spread(share, f[0], along);
    outward(f[1], along, added);
    for (int p = 0; p < PIXELS; p++) canvas[r * PIXELS + p] = before[r * PIXELS + p] + added[p];
  }
}

void write_back(const real *patch, const real *five, const real *d_canvas, real *d_patch, real *d_five,
                index_t rows) {
  for (index_t r = 0; r < rows; r++) {
    window_t w = window_of(five + 5 * r);
    real f[2][N][SIDE], df[2][N][SIDE] = {0}, share[N * N], along[N][SIDE], shown[N][SIDE], intensity = 0;
    const real *d = d_canvas + r * PIXELS;
    filters(&w, f);
    for (int k = 0; k < N * N; k++) share[k] = patch[r * N * N + k] / w.intensity;
    times(f[1], d, shown);
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        real of = inner(shown[i], f[0][j]);
        d_patch[(r * N + i) * N + j] = of / w.intensity;
        intensity -= of * share[i * N + j];
        for (int p = 0; p < SIDE; p++) df[0][j][p] += share[i * N + j] * shown[i][p];
      }
    spread(share, f[0], along);
    for (int i = 0; i < N; i++)
      for (int q = 0; q < SIDE; q++) df[1][i][q] += inner(along[i], d + q * SIDE);
    back(&w, f, df, intensity, d_five + 5 * r);
  }
}
