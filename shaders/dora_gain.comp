#version 460
// norms[o] = |W[o] + sum of scale * B[o] * A|, gain[o] = m[o] / norms[o], 0 where the norm is 0: 16 outputs by 16 lanes a workgroup. A delta is eight words: {A (2), B (2), scale, rank,
// types of A and B in one byte each, 0}. Over a table the sums are as long as the vocabulary.
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
#include "common/weights.glsl"
#include "common/two_sum.glsl"
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint WEIGHT_TYPE = 0;
// 1: the weight is stored [inputs, outputs].
layout(constant_id = 1) const uint INPUT_MAJOR = 0;
layout(push_constant, std430) uniform Push {
    uvec2 weight; uvec2 deltas; uvec2 ids; uvec2 values; uvec2 magnitude; uvec2 norms; uvec2 gain;
    uint scales; uint inputs; uint outputs; uint delta_count; uint replaced; uint values_type; uint values_scales;
} push;

const uint LANES = 16u;
const uint PITCH = LANES + 1u;

shared TwoSum s_lanes[LANES * PITCH];

// Element `column` of row `row` of the stored weight, or of the one that stands in its place.
float weight_at(uint row, uint column)
{
    uint width = INPUT_MAJOR != 0u ? push.outputs : push.inputs, low = 0u, high = push.replaced;
    while (low < high) {
        uint middle = (low + high) >> 1;
        if (load_u32(push.ids, middle) < row)
            low = middle + 1u;
        else
            high = middle;
    }
    if (low < push.replaced && load_u32(push.ids, low) == row)
        return load_weight(push.values, push.values_type, push.values_scales, low * width + column);
    return load_weight(push.weight, WEIGHT_TYPE, push.scales, row * width + column);
}

void main()
{
    // Neighbouring threads read neighbouring elements of the weight.
    uint thread = gl_LocalInvocationIndex, high = thread >> 4, low = thread & 15u;
    uint lane = INPUT_MAJOR != 0u ? high : low, place = INPUT_MAJOR != 0u ? low : high;
    uint o = min(gl_WorkGroupID.x * LANES + place, push.outputs - 1u);
    TwoSum sum = TwoSum(0.0, 0.0);
    for (uint i = lane; i < push.inputs; i += LANES) {
        precise float v = INPUT_MAJOR != 0u ? weight_at(i, o) : weight_at(o, i);
        for (uint k = 0u; k < push.delta_count; k++) {
            uvec2 a = load_address(push.deltas, 8u * k), b = load_address(push.deltas, 8u * k + 2u);
            uint rank = load_u32(push.deltas, 8u * k + 5u), types = load_u32(push.deltas, 8u * k + 6u);
            precise float delta = 0.0;
            for (uint r = 0u; r < rank; r++)
                delta = fma(load_vector(b, types >> 8, o * rank + r), load_vector(a, types & 255u, r * push.inputs + i), delta);
            v = fma(load_f32(push.deltas, 8u * k + 4u), delta, v);
        }
        precise float square = v * v;
        add_to(sum, square);
    }
    s_lanes[place * PITCH + lane] = sum;
    barrier();
    o = gl_WorkGroupID.x * LANES + thread;
    if (thread >= LANES || o >= push.outputs)
        return;
    TwoSum total = TwoSum(0.0, 0.0);
    for (uint p = 0u; p < LANES; p++) {
        add_to(total, s_lanes[thread * PITCH + p].high);
        add_to(total, s_lanes[thread * PITCH + p].low);
    }
    float norm = sqrt(total_of(total));
    store_f32(push.norms, o, norm);
    store_f32(push.gain, o, norm > 0.0 ? load_f32(push.magnitude, o) / norm : 0.0);
}
