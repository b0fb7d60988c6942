// A path's low-rank steps on one output of one row: y <- gain * (y + scale * (sum over r of B[o, r] * U[r] + output bias)), in path order, then + bias.
// U is A * x of all the row's steps, side by side. Every kernel that ends a linear layer ends it here, so that all give the same bits.
#ifndef EDGELORA_STEPS
#define EDGELORA_STEPS
#include "common/memory.glsl"
#include "common/weights.glsl"
#include "common/path.glsl"

const uint ALL_STEPS = 0xFFFFFFFFu;

// Four elements of an adapter's matrix, F32, F16 or BF16; i is a multiple of 4.
vec4 load_vector4(uvec2 a, uint type, uint i)
{
    if (type == F32)
        return load_f32x4(a, i >> 2);
    uvec2 w = load_u32x2(a, i >> 2);
    return type == F16 ? vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y)) : uintBitsToFloat(uvec4(w.x << 16, w.x & 0xFFFF0000u, w.y << 16, w.y & 0xFFFF0000u));
}

// The first `limit` steps at output o; u_word is where the row's U begins. Unless all steps are asked for, the last one's gain is left out.
float apply_steps(uvec2 site, float product, uvec2 u, uint u_word, uint o, uint limit)
{
    precise float y = product;
    uint count = min(site_step_count(site), limit);
    for (uint k = 0u; k < count; k++) {
        Step s = load_step(site, k);
        precise float up = is_null(s.output_bias) ? 0.0 : load_vector(s.output_bias, s.output_bias_type, o);
        uint at = u_word + s.offset, b = o * s.rank;
        if ((s.rank & 3u) == 0u) {
            for (uint r = 0u; r < s.rank; r += 4u) {
                vec4 w = load_vector4(s.b, s.b_type, b + r);
                up = fma(w.x, load_f32(u, at + r), up);
                up = fma(w.y, load_f32(u, at + r + 1u), up);
                up = fma(w.z, load_f32(u, at + r + 2u), up);
                up = fma(w.w, load_f32(u, at + r + 3u), up);
            }
        } else {
            for (uint r = 0u; r < s.rank; r++)
                up = fma(load_vector(s.b, s.b_type, b + r), load_f32(u, at + r), up);
        }
        y = fma(s.scale, up, y);
        if (!is_null(s.gain) && k + 1u != limit)
            y = y * load_vector(s.gain, s.gain_type, o);
    }
    return y;
}

// Adds the path's bias where it has one, else the base's where that has one.
float add_bias(uvec2 site, float y, uvec2 base, uint base_type, uint o)
{
    uvec2 own = site_bias(site);
    precise float sum = y;
    if (!is_null(own))
        sum = sum + load_vector(own, site_bias_type(site), o);
    else if (!is_null(base))
        sum = sum + load_vector(base, base_type, o);
    return sum;
}

#endif
