// What the norms share: a workgroup is a piece of WIDTH floats; a thread has every THREADS-th quad (or float, where quads do not divide the width).
// Specialisation: 0 subtract the mean (LayerNorm), 1 threads, 2 quads divide the width.
#ifndef EDGELORA_NORM
#define EDGELORA_NORM
#include "common/weights.glsl"
#include "common/path.glsl"
#include "common/batch.glsl"

layout(constant_id = 0) const uint SUBTRACT_MEAN = 0;
layout(constant_id = 1) const uint THREADS = 64;
layout(constant_id = 2) const uint BY_QUADS = 1;
layout(local_size_x_id = 1) in;

#include "common/reduce.glsl"

const uint STEP = BY_QUADS != 0u ? 4u : 1u;

// Mean in two floats (0 where it is not subtracted) and 1 / sqrt(mean square of what is left + eps) in two: its rounding would be the same way in all of a piece.
struct Moments { float high; float low; float scale; float scale_low; };

// Elements d..d+3 of the piece at float `at`; only the first where quads do not divide the width.
vec4 load_piece(uvec2 a, uint at, uint d) { return BY_QUADS != 0u ? load_f32x4(a, (at + d) / 4u) : vec4(load_f32(a, at + d), 0.0, 0.0, 0.0); }

void store_piece(uvec2 a, uint at, uint d, vec4 v)
{
    if (BY_QUADS != 0u)
        store_f32x4(a, (at + d) / 4u, v);
    else
        store_f32(a, at + d, v.x);
}

vec4 load_parameter(uvec2 a, uint type, uint d) { return BY_QUADS != 0u ? load_weight4(a, type, 0u, d) : vec4(load_vector(a, type, d), 0.0, 0.0, 0.0); }

// Gains with what is added to them; no sum where that is 0, so that a NaN or a -0 stays as it is.
vec4 load_gain(uvec2 a, uint type, uint d, float offset)
{
    precise vec4 gain = load_parameter(a, type, d);
    if (offset != 0.0)
        gain = gain + offset;
    return gain;
}

float sum_quad(vec4 v, float sum)
{
    precise float s = sum + v.x;
    if (BY_QUADS != 0u)
        s = s + v.y + v.z + v.w;
    return s;
}

// x - mean, where a mean far from 0 costs no digits.
vec4 centre(vec4 x, Moments m)
{
    precise vec4 c = SUBTRACT_MEAN != 0u ? x - m.high - m.low : x;
    return BY_QUADS != 0u ? c : vec4(c.x, 0.0, 0.0, 0.0);
}

// 1 / sqrt(v) in two floats: what one step of Newton's adds to a driver's root and quotient, which may be a few units off.
vec2 inverse_root(float v)
{
    precise float r = 1.0 / sqrt(v), square = r * r, rest = fma(r, r, -square);
    precise float e = fma(-v, rest, fma(-v, square, 1.0));
    return vec2(r, 0.5 * r * e);
}

// (x - mean) / sqrt(mean square + eps).
vec4 normal(vec4 x, Moments m)
{
    precise vec4 c = centre(x, m), rest = c * m.scale_low, n = fma(c, vec4(m.scale), rest);
    return n;
}

float mean_left(uvec2 x, uint at, uint width, Moments m)
{
    precise float sum = 0.0;
    for (uint d = STEP * gl_LocalInvocationIndex; d < width; d += STEP * THREADS)
        sum = sum_quad(centre(load_piece(x, at, d), m), sum);
    return sum_threads(sum) / float(width);
}

Moments moments(uvec2 x, uint at, uint width, float epsilon)
{
    Moments m = Moments(0.0, 0.0, 0.0, 0.0);
    if (SUBTRACT_MEAN != 0u) {
        m.high = mean_left(x, at, width, m);
        m.low = mean_left(x, at, width, m);
    }
    precise float sum = 0.0;
    for (uint d = STEP * gl_LocalInvocationIndex; d < width; d += STEP * THREADS) {
        vec4 c = centre(load_piece(x, at, d), m);
        sum = fma(c.w, c.w, fma(c.z, c.z, fma(c.y, c.y, fma(c.x, c.x, sum))));
    }
    vec2 scale = inverse_root(sum_threads(sum) / float(width) + epsilon);
    m.scale = scale.x;
    m.scale_low = scale.y;
    return m;
}

#endif
