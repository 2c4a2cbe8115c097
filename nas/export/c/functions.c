/* == exp_of ==
 * e to the power x, within 2e-7 of its value (Cephes, expf). */
static float exp_of(float x)
{
    union { int32_t bits; float value; } first, second;
    float limited = x > -104.0f ? (x < 89.0f ? x : 89.0f) : -104.0f;
    float turned = limited * 1.44269504f;
    int32_t n = (int32_t)(turned + (turned < 0.0f ? -0.5f : 0.5f));
    float r = limited - (float)n * 0.693359375f + (float)n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;

    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    first.bits = (n / 2 + 127) * 8388608; /* 2 to the power n, in two factors that a float holds */
    second.bits = (n - n / 2 + 127) * 8388608;
    return x == x ? p * first.value * second.value : x;
}

/* == sigmoid_of : exp_of ==
 * 1 / (1 + exp(-x)), within 4e-7 of its value; 0 below 3e-39. */
static float sigmoid_of(float x)
{
    return 1.0f / (1.0f + exp_of(-x));
}

/* == tanh_of : exp_of ==
 * The hyperbolic tangent, within 3e-7 of its value (Cephes, tanhf). */
static float tanh_of(float x)
{
    float size = x < 0.0f ? -x : x;
    float z = x * x;
    float p = -5.70498872745e-3f;
    float large = 1.0f - 2.0f / (exp_of(2.0f * size) + 1.0f);

    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    p = p * z * x + x;
    return size < 0.625f ? p : x < 0.0f ? -large : large;
}

/* == log_of ==
 * The natural logarithm, within 2e-7 of its value, or of 1 (Cephes, logf). */
static float log_of(float x)
{
    union { float value; int32_t bits; } number;
    int is_tiny = x < 1.17549435e-38f;
    int32_t n;
    float m, z, p;

    number.value = x;
    if (!(x > 0.0f) || number.bits == 0x7f800000) {
        number.bits = x == 0.0f ? -8388608 : 0x7fc00000; /* minus infinity, or not a number */
        return x > 0.0f ? x : number.value;
    }
    number.value = is_tiny ? x * 33554432.0f : x;
    n = number.bits / 8388608 - 126 - (is_tiny ? 25 : 0);
    number.bits = number.bits % 8388608 + 126 * 8388608; /* from 0.5 to 1 */
    m = number.value;
    if (m < 0.707106781f) {
        m = m + m;
        n = n - 1;
    }
    m = m - 1.0f;
    z = m * m;
    p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    p = p * m * z - 2.12194440e-4f * (float)n - 0.5f * z;
    return m + p + 0.693359375f * (float)n;
}

/* == softplus_of : exp_of log_of ==
 * log(1 + exp(x)), within 4e-7 of its value. */
static float softplus_of(float x)
{
    float e = exp_of(x > 0.0f ? -x : x);
    float sum = 1.0f + e;
    float log_1_e = log_of(sum) - ((sum - 1.0f) - e) / sum; /* the second term undoes rounding */

    return x > 0.0f ? x + log_1_e : log_1_e;
}

/* == silu_of : sigmoid_of ==
 * x times its sigmoid. */
static float silu_of(float x)
{
    return x * sigmoid_of(x);
}

/* == gelu_of : exp_of ==
 * x times the normal distribution function of x, within 3e-7 * |x| (Abramowitz and Stegun 1964,
 * 7.1.26). */
static float gelu_of(float x)
{
    float size = (x < 0.0f ? -x : x) * 0.707106781f;
    float t = 1.0f / (1.0f + 0.3275911f * size);
    float p = 1.061405429f;
    float tail;

    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    tail = 0.5f * p * t * exp_of(-size * size);
    return x * (x > 0.0f ? 1.0f - tail : tail);
}

/* == sqrt_of ==
 * The square root, within 2e-7 of its value: Newton's method for its inverse. */
static float sqrt_of(float x)
{
    union { float value; int32_t bits; } guess;
    int is_tiny = x < 1e-30f;
    float scaled = is_tiny ? x * 1.15292150e18f : x;
    float y, root;
    int k;

    guess.value = scaled;
    if (!(scaled > 0.0f) || guess.bits == 0x7f800000) {
        guess.bits = 0x7fc00000;
        return scaled < 0.0f ? guess.value : x;
    }
    guess.bits = 0x5f375a86 - guess.bits / 2;
    y = guess.value;
    for (k = 0; k < 3; k++) {
        y = y * (1.5f - 0.5f * scaled * y * y);
    }
    root = scaled * y;
    root = root + 0.5f * y * (scaled - root * root);
    return is_tiny ? root * 9.31322575e-10f : root;
}

/* == sine_of ==
 * The sine of x + turns * pi / 2, within 2e-7 up to |x| = 1e6. A double keeps the angle. */
static float sine_of(float x, int32_t turns)
{
    int is_far = !(x > -1e9f && x < 1e9f);
    double quarters = is_far ? 0.0 : x * 0.63661977236758134;
    int32_t n = (int32_t)(quarters + (quarters < 0.0 ? -0.5 : 0.5));
    float r = is_far ? x - x : (float)(x - n * 1.5707963267948966);
    float z = r * r;
    int32_t quarter = (n % 4 + turns + 4) % 4;
    float p;

    if (quarter % 2 == 0) {
        p = -1.9515295891e-4f;
        p = p * z + 8.3321608736e-3f;
        p = p * z - 1.6666654611e-1f;
        p = p * z * r + r;
    } else {
        p = 2.443315711809948e-5f;
        p = p * z - 1.388731625493765e-3f;
        p = p * z + 4.166664568298827e-2f;
        p = p * z * z - 0.5f * z + 1.0f;
    }
    return quarter < 2 ? p : -p;
}

/* == sin_of : sine_of == */
static float sin_of(float x)
{
    return sine_of(x, 0);
}

/* == cos_of : sine_of == */
static float cos_of(float x)
{
    return sine_of(x, 1);
}

/* == floor_of ==
 * The largest whole number up to x. */
static float floor_of(float x)
{
    float whole;

    if (!(x > -8388608.0f && x < 8388608.0f)) {
        return x; /* floats of this size are whole */
    }
    whole = (float)(int32_t)x;
    return whole > x ? whole - 1.0f : whole;
}

/* == abs_of == */
static float abs_of(float x)
{
    return x < 0.0f ? -x : x;
}

/* == square_of == */
static float square_of(float x)
{
    return x * x;
}

/* == relu_of == */
static float relu_of(float x)
{
    return x > 0.0f ? x : 0.0f;
}

/* == leaky_relu_of == */
static float leaky_relu_of(float x, float slope)
{
    return x > 0.0f ? x : slope * x;
}

/* == hard_sigmoid_of ==
 * slope * x + 1/2, cut to [0, 1]. */
static float hard_sigmoid_of(float x, float slope)
{
    float y = slope * x + 0.5f;

    return y < 0.0f ? 0.0f : y > 1.0f ? 1.0f : y;
}

/* == max_of == */
static float max_of(float a, float b)
{
    return a > b ? a : b;
}

/* == min_of == */
static float min_of(float a, float b)
{
    return a < b ? a : b;
}

/* == blend_of ==
 * a times b, and 1 - a times c. */
static float blend_of(float a, float b, float c)
{
    return a * b + (1.0f - a) * c;
}

/* == infinity == */
static float infinity(void)
{
    union { int32_t bits; float value; } number;

    number.bits = 0x7f800000;
    return number.value;
}

/* == softmax : exp_of ==
 * exp(row) / total of exp(row), of n numbers. */
static void softmax(float *row, int n)
{
    float largest = row[0];
    float total = 0.0f;
    int k;

    for (k = 1; k < n; k++) {
        largest = row[k] > largest ? row[k] : largest;
    }
    for (k = 0; k < n; k++) {
        row[k] = exp_of(row[k] - largest);
        total += row[k];
    }
    for (k = 0; k < n; k++) {
        row[k] /= total;
    }
}

/* == rms_norm : sqrt_of ==
 * n numbers, divided by the root of their mean square. */
static void rms_norm(float *row, int n, float eps)
{
    float total = 0.0f;
    float scale;
    int k;

    for (k = 0; k < n; k++) {
        total += row[k] * row[k];
    }
    scale = 1.0f / sqrt_of(total / (float)n + eps);
    for (k = 0; k < n; k++) {
        row[k] *= scale;
    }
}

/* == layer_norm : rms_norm ==
 * n numbers, shifted and scaled to mean 0 and variance 1. */
static void layer_norm(float *row, int n, float eps)
{
    float total = 0.0f;
    int k;

    for (k = 0; k < n; k++) {
        total += row[k];
    }
    for (k = 0; k < n; k++) {
        row[k] -= total / (float)n;
    }
    rms_norm(row, n, eps);
}

/* == cumsum ==
 * Each of n numbers becomes the sum of itself and of all before it. */
static void cumsum(float *row, int n)
{
    int k;

    for (k = 1; k < n; k++) {
        row[k] += row[k - 1];
    }
}

/* == add_product ==
 * y += W x. The factors of x[0] stand first in weight, n_out of them, then those of x[1]. */
static void add_product(float *restrict y, const float *restrict weight, const float *restrict x,
                        int n_in, int n_out)
{
    const int whole = n_in - n_in % 4;
    int j, k;

    for (j = 0; j < whole; j += 4) {
        const float *w = weight + j * n_out;
        const float x_0 = x[j], x_1 = x[j + 1], x_2 = x[j + 2], x_3 = x[j + 3];

        for (k = 0; k < n_out; k++) {
            y[k] += w[k] * x_0 + w[k + n_out] * x_1 + w[k + 2 * n_out] * x_2 + w[k + 3 * n_out] * x_3;
        }
    }
    for (j = whole; j < n_in; j++) {
        for (k = 0; k < n_out; k++) {
            y[k] += weight[j * n_out + k] * x[j];
        }
    }
}

/* == add_product_int8 ==
 * y += W x. The factors of x[0] stand first in weight, n_out of them, then those of x[1]. */
static void add_product_int8(float *restrict y, const int8_t *restrict weight,
                             const float *restrict x, int n_in, int n_out)
{
    const int whole = n_in - n_in % 4;
    int j, k;

    for (j = 0; j < whole; j += 4) {
        const int8_t *w = weight + j * n_out;
        const float x_0 = x[j], x_1 = x[j + 1], x_2 = x[j + 2], x_3 = x[j + 3];

        for (k = 0; k < n_out; k++) {
            y[k] += (float)w[k] * x_0 + (float)w[k + n_out] * x_1 + (float)w[k + 2 * n_out] * x_2
                    + (float)w[k + 3 * n_out] * x_3;
        }
    }
    for (j = whole; j < n_in; j++) {
        for (k = 0; k < n_out; k++) {
            y[k] += (float)weight[j * n_out + k] * x[j];
        }
    }
}

/* == cut ==
 * The nearest number that an int16_t holds, but for -32768. */
static int32_t cut(int32_t value)
{
    return value > 32767 ? 32767 : value < -32767 ? -32767 : value;
}

/* == fit : cut ==
 * value / 2^shift, rounded and cut; shift is at least 1, |value| at most 2^30. */
static int32_t fit(int32_t value, int shift)
{
    return cut((value + ((int32_t)1 << (shift - 1))) >> shift);
}

/* == grown : cut ==
 * value * 2^shift, cut. */
static int32_t grown(int32_t value, int shift)
{
    int32_t limit = (32767 >> shift) + 1;

    value = value > limit ? limit : value < -limit ? -limit : value;
    return cut(value * ((int32_t)1 << shift));
}

/* == scaled ==
 * sum * factor / 2^shift, rounded, and cut to 30 bits; shift is at least 1. */
static int32_t scaled(int64_t sum, int32_t factor, int shift)
{
    int64_t value = (sum * factor + ((int64_t)1 << (shift - 1))) >> shift;

    return (int32_t)(value > 1073741823 ? 1073741823 : value < -1073741823 ? -1073741823 : value);
}

/* == dot ==
 * The sum of n products; it stays below 2^31 up to n = 516. */
static int32_t dot(const int8_t *restrict weight, const int16_t *restrict x, int n)
{
    int32_t sum = 0;
    int j;

    for (j = 0; j < n; j++) {
        sum += (int32_t)weight[j] * x[j];
    }
    return sum;
}

/* == long_dot : dot ==
 * The sum of n products, any number of them. */
static int64_t long_dot(const int8_t *weight, const int16_t *x, int n)
{
    const int whole = n - n % 512;
    int64_t sum = dot(weight + whole, x + whole, n - whole);
    int j;

    for (j = 0; j < whole; j += 512) {
        sum += dot(weight + j, x + j, 512);
    }
    return sum;
}

/* == to_fixed ==
 * value * one, rounded and cut to what an int16_t holds; 0 of what is not a number. */
static int32_t to_fixed(float value, float one)
{
    float large = value * one;

    large = large > 32767.0f ? 32767.0f : large < -32767.0f ? -32767.0f : large;
    return large == large ? (int32_t)(large + (large < 0.0f ? -0.5f : 0.5f)) : 0;
}

/* == tanh_fixed ==
 * 32768 * tanh(value / 4096), within 1.3e-4 * 32768: a table of tanh(k / 32) from 0 to 8. */
static int32_t tanh_fixed(int32_t value)
{
    int32_t size = value < 0 ? -value : value;
    int32_t below = tanh_table[size >> 7];
    int32_t above = tanh_table[(size >> 7) + 1];
    int32_t result = below + (((above - below) * (size & 127) + 64) >> 7);

    return value < 0 ? -result : result;
}

/* == sigmoid_fixed : tanh_fixed ==
 * 32768 / (1 + exp(-value / 2048)), within 1e-4 * 32768, as (1 + tanh(x / 2)) / 2. */
static int32_t sigmoid_fixed(int32_t value)
{
    int32_t result = (tanh_fixed(value) + 32769) >> 1;

    return result > 32767 ? 32767 : result;
}

/* == lookup ==
 * The value of a table of 257 places, which lie 256 apart from -32768 on, between two places. */
static int32_t lookup(const int16_t *table, int32_t value)
{
    int32_t place = value + 32768;
    int32_t below = table[place >> 8];
    int32_t above = table[(place >> 8) + 1];

    return below + (((above - below) * (place & 255) + 128) >> 8);
}

/* == quotient : cut ==
 * a * 2^shift / b, cut; shift is at most 15. */
static int32_t quotient(int32_t a, int32_t b, int shift)
{
    if (b == 0) {
        return a > 0 ? 32767 : a < 0 ? -32767 : 0;
    }
    return cut(a * ((int32_t)1 << shift) / b);
}

/* == max_fixed == */
static int32_t max_fixed(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* == min_fixed == */
static int32_t min_fixed(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* == abs_fixed == */
static int32_t abs_fixed(int32_t value)
{
    return value < 0 ? -value : value;
}

/* == square_fixed == */
static int32_t square_fixed(int32_t value)
{
    return value * value;
}
