// Functions to about 1e-7 relative: a driver's own exp and tanh need be good to a few hundred units in the last place only.
#ifndef EDGELORA_MATH
#define EDGELORA_MATH

// e^x, clamped to [-87.3, 88.3]; NaN stays. x = n * ln 2 + r, Cephes' expf polynomial in r, times 2^n.
float exp_f32(float x)
{
    precise float c = x < -87.3 ? -87.3 : x > 88.3 ? 88.3 : x;
    precise float n = floor(fma(c, 1.44269504, 0.5));
    precise float r = fma(n, -0.693359375, c);
    r = fma(n, 2.12194440e-4, r);
    precise float p = 1.9875691500e-4;
    p = fma(p, r, 1.3981999507e-3);
    p = fma(p, r, 8.3334519073e-3);
    p = fma(p, r, 4.1665795894e-2);
    p = fma(p, r, 1.6666665459e-1);
    p = fma(p, r, 5.0000001201e-1);
    p = fma(p, r * r, r) + 1.0;
    return x != x ? x : p * uintBitsToFloat(uint(int(n) + 127) << 23);
}

// ln x for a normal x > 0: x = m * 2^e with m in [0.7, 1.42), Cephes' logf polynomial in m - 1.
float log_f32(float x)
{
    uint bits = floatBitsToUint(x);
    int e = int(bits >> 23) - 126;
    precise float m = uintBitsToFloat((bits & 0x007FFFFFu) | 0x3F000000u);
    if (m < 0.70710678) {
        e -= 1;
        m = m + m;
    }
    precise float f = m - 1.0, z = f * f;
    precise float p = 7.0376836292e-2;
    p = fma(p, f, -1.1514610310e-1);
    p = fma(p, f, 1.1676998740e-1);
    p = fma(p, f, -1.2420140846e-1);
    p = fma(p, f, 1.4249322787e-1);
    p = fma(p, f, -1.6668057665e-1);
    p = fma(p, f, 2.0000714765e-1);
    p = fma(p, f, -2.4999993993e-1);
    p = fma(p, f, 3.3333331174e-1);
    precise float y = p * f * z;
    y = fma(float(e), -2.12194440e-4, y);
    y = fma(-0.5, z, y);
    precise float r = f + y;
    return fma(float(e), 0.693359375, r);
}

// ln(1 + x) for x >= 0 without the digits that 1 + x drops: Goldberg 1991, theorem 4.
float log_one_plus_f32(float x)
{
    precise float sum = 1.0 + x, rest = sum - 1.0;
    return rest == 0.0 ? x : log_f32(sum) * (x / rest);
}

float sigmoid_f32(float x) { return 1.0 / (1.0 + exp_f32(-x)); }

// Below 0.625 the difference of exponentials cancels: Cephes' tanhf polynomial there.
float tanh_f32(float x)
{
    precise float e = exp_f32(abs(x) * -2.0);
    precise float far = (1.0 - e) / (1.0 + e);
    precise float s = x * x;
    precise float p = -5.70498872745e-3;
    p = fma(p, s, 2.06390887954e-2);
    p = fma(p, s, -5.37397155531e-2);
    p = fma(p, s, 1.33314422036e-1);
    p = fma(p, s, -3.33332819422e-1);
    precise float near = fma(p * s, x, x);
    return abs(x) < 0.625 ? near : x < 0.0 ? -far : far;
}

// The standard normal's distribution function to 1e-7 relative in both tails: erfc(z) = t * exp(-z^2 + P(t)), t = 1 / (1 + z / 2), the Chebyshev fit of Numerical Recipes 6.2 (erfcc).
float normal_cdf_f32(float x)
{
    precise float magnitude = abs(x);
    precise float t = 1.0 / fma(magnitude * 0.70710678, 0.5, 1.0);
    precise float p = 0.17087277;
    p = fma(p, t, -0.82215223);
    p = fma(p, t, 1.48851587);
    p = fma(p, t, -1.13520398);
    p = fma(p, t, 0.27886807);
    p = fma(p, t, -0.18628806);
    p = fma(p, t, 0.09678418);
    p = fma(p, t, 0.37409196);
    p = fma(p, t, 1.00002368);
    p = fma(p, t, -1.26551223);
    // x^2 / 2 and not z^2, whose rounding the exponential would magnify.
    precise float upper = t * 0.5 * exp_f32(fma(magnitude * -0.5, magnitude, p));
    return x < 0.0 ? upper : 1.0 - upper;
}

#endif
