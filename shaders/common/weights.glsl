// Elements of stored weights, widened to F32. On the device a quantised tensor is two planes: all quants, then all scales (F16, two a word).
// Q8_0: 32 bytes a block. Q4_0: 16 bytes a block, low nibbles elements 0..15, high nibbles 16..31. Block layouts: GGUF.
#ifndef EDGELORA_WEIGHTS
#define EDGELORA_WEIGHTS
#include "common/memory.glsl"

const uint F32 = 0u, F16 = 1u, BF16 = 2u, Q8_0 = 3u, Q4_0 = 4u;

float half_of(uint word, uint i)
{
    vec2 both = unpackHalf2x16(word);
    return (i & 1u) == 0u ? both.x : both.y;
}

vec4 bytes_of(uint word) { return vec4(ivec4(int(word << 24), int(word << 16), int(word << 8), int(word)) >> 24); }

float block_scale(uvec2 a, uint scales, uint block) { return half_of(load_u32(a, scales + (block >> 1)), block); }

// Element i of a row-major tensor.
float load_weight(uvec2 a, uint type, uint scales, uint i)
{
    if (type == F32)
        return load_f32(a, i);
    if (type == F16)
        return half_of(load_u32(a, i >> 1), i);
    if (type == BF16)
        return uintBitsToFloat((i & 1u) == 0u ? load_u32(a, i >> 1) << 16 : load_u32(a, i >> 1) & 0xFFFF0000u);
    uint block = i >> 5, e = i & 31u;
    if (type == Q8_0)
        return block_scale(a, scales, block) * float(int(load_u32(a, i >> 2) << (24u - 8u * (i & 3u))) >> 24);
    uint word = load_u32(a, block * 4u + ((e & 15u) >> 2));
    uint q = word >> (8u * (e & 3u) + (e < 16u ? 0u : 4u)) & 15u;
    return block_scale(a, scales, block) * float(int(q) - 8);
}

// Elements i..i+3; i is a multiple of 4.
vec4 load_weight4(uvec2 a, uint type, uint scales, uint i)
{
    if (type == F32)
        return load_f32x4(a, i >> 2);
    if (type == F16) {
        uvec2 w = load_u32x2(a, i >> 2);
        return vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
    }
    if (type == BF16) {
        uvec2 w = load_u32x2(a, i >> 2);
        return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xFFFF0000u, w.y << 16, w.y & 0xFFFF0000u));
    }
    uint block = i >> 5, e = i & 31u;
    if (type == Q8_0)
        return block_scale(a, scales, block) * bytes_of(load_u32(a, i >> 2));
    uint word = load_u32(a, block * 4u + ((e & 15u) >> 2)) >> (e < 16u ? 0u : 4u);
    uvec4 q = uvec4(word, word >> 8, word >> 16, word >> 24) & 15u;
    return block_scale(a, scales, block) * vec4(ivec4(q) - 8);
}

// An element of a bias, a gain or an adapter's matrix: F32, F16 or BF16, known when it runs.
float load_vector(uvec2 a, uint type, uint i)
{
    uint word = load_u32(a, type == F32 ? i : i >> 1);
    if (type == F16)
        return half_of(word, i);
    return uintBitsToFloat(type == F32 ? word : (i & 1u) == 0u ? word << 16 : word & 0xFFFF0000u);
}

#endif
