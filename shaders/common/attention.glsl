// What the attention shaders share. Its order of additions is one row's alone, so a row has the same bits in any shader and any batch:
// keys stand in chunks counted from position 0; a chunk is one step of an online softmax (arXiv:1805.02867); chunk c belongs to partial sum c % SPLITS, and partial sums meet in order.
// Specialisation: 0 head size; 1 rows of a tile (attention_tile.glsl), or what is merged (attention_row).
#ifndef EDGELORA_ATTENTION
#define EDGELORA_ATTENTION
#include "common/batch.glsl"
#include "common/math.glsl"

layout(constant_id = 0) const uint HEAD_SIZE = 64;

// Forward: q -> y, by way of scratch where partial sums are merged. Backward: q, dy -> y (dq), dk, dv, with a row's statistics in scratch.
layout(push_constant, std430) uniform Push
{
    uvec2 batch; uvec2 q; uvec2 y; uvec2 scratch; uvec2 dy; uvec2 dk; uvec2 dv; uvec2 slopes;
    uint layer; uint rows; uint heads; uint kv_heads; uint window; uint causal; float scale; float cap; float inverse_cap;
} push;

const uint THREADS = 128u;
const uint CHUNK = 64u;
const uint SPLITS = 16u;
// Keys of a chunk whose values are added before they meet the others'.
const uint GROUP = 8u;
const uint GROUPS = CHUNK / GROUP;
// Quads of a head that are multiplied before they meet the others, and a padding that keeps threads on different banks.
const uint SLICE = 8u;
const uint PITCH = SLICE + 1u;
const uint QUADS = (HEAD_SIZE + 3u) / 4u;
const uint SLICES = (QUADS + SLICE - 1u) / SLICE;
#define NONE uintBitsToFloat(0xFF800000u)

// Positions [first, end).
struct Seen { uint first; uint end; };

Seen seen_by(Sequence s, uint row)
{
    uint end = s.past + (push.causal != 0u ? row - s.start + 1u : s.count);
    return Seen(push.window > 0u && end > push.window ? end - push.window : 0u, end);
}

// The first chunk of partial sum `split` from chunk `first` on.
uint first_chunk(uint first, uint split) { return first + (split + SPLITS - first % SPLITS) % SPLITS; }

bool sees_split(Seen seen, uint split) { return seen.first < seen.end && first_chunk(seen.first / CHUNK, split) * CHUNK < seen.end; }

// Whether some position of [seen.first, seen.end) lies in the chunk.
bool sees_chunk(Seen seen, uint chunk) { return seen.first < min(seen.end, chunk * CHUNK + CHUNK) && seen.end > chunk * CHUNK; }

bool sees(Seen seen, uint position) { return position >= seen.first && position < seen.end; }

// The nearest bfloat16, ties to even.
float round_bf16(float x)
{
    uint bits = floatBitsToUint(x);
    return uintBitsToFloat((bits + 0x7FFFu + (bits >> 16 & 1u)) & 0xFFFF0000u);
}

// A score of a product q . k: the bias of its position (ALiBi), the factor, the soft cap.
float score_of(float product, uint head, uint position)
{
    precise float s = product;
    if (!is_null(push.slopes))
        s = s + round_bf16(load_f32(push.slopes, head) * round_bf16(float(position)));
    s = s * push.scale;
    if (push.cap > 0.0)
        s = push.cap * tanh_f32(s * push.inverse_cap);
    return s;
}

// The derivative of a score in the product that it is made of.
float score_slope(float score)
{
    precise float t = score * push.inverse_cap, slope = push.cap > 0.0 ? fma(-t, t, 1.0) * push.scale : push.scale;
    return slope;
}

// e^x for x <= 0, 0 where exp_f32 would stop at its smallest number; NaN stays.
float decay(float x) { return x < -87.0 ? 0.0 : exp_f32(x); }
vec4 decay(vec4 x) { return vec4(decay(x.x), decay(x.y), decay(x.z), decay(x.w)); }

// Quad `quad` of the head that begins at float `at`; zeros past the head's end.
vec4 load_head(uvec2 a, uint at, uint quad)
{
    if (HEAD_SIZE % 4u == 0u)
        return load_f32x4(a, at / 4u + quad);
    uint d = 4u * quad;
    return vec4(load_f32(a, at + d), d + 1u < HEAD_SIZE ? load_f32(a, at + d + 1u) : 0.0,
        d + 2u < HEAD_SIZE ? load_f32(a, at + d + 2u) : 0.0, d + 3u < HEAD_SIZE ? load_f32(a, at + d + 3u) : 0.0);
}

void store_head(uvec2 a, uint at, uint quad, vec4 v)
{
    if (HEAD_SIZE % 4u == 0u) {
        store_f32x4(a, at / 4u + quad, v);
        return;
    }
    for (uint c = 0u; c < 4u && 4u * quad + c < HEAD_SIZE; c++)
        store_f32(a, at + 4u * quad + c, v[c]);
}

// sum + x . y. Precise, or a compiler may order the terms of one row otherwise than those of another.
float dot_quad(vec4 x, vec4 y, float sum)
{
    precise float s = fma(x.x, y.x, sum);
    s = fma(x.y, y.y, s);
    s = fma(x.z, y.z, s);
    s = fma(x.w, y.w, s);
    return s;
}

#endif
