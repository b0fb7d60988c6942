// What the kernels of y = W * x share: arguments, reads of W and x, and the end of an output.
//
// The order of a product's sum is the same in every kernel, so that a row has the same bits in a batch of any size: lane p of 16 takes the elements k with
// (k / 4) % 16 = p in ascending order, a chain of fused multiply-adds from zero; the lanes are then added in ascending order,
// their rounding kept beside the sum: common/two_sum.glsl.
#ifndef EDGELORA_PRODUCT
#define EDGELORA_PRODUCT
#include "common/memory.glsl"
#include "common/weights.glsl"
#include "common/batch.glsl"
#include "common/path.glsl"
#include "common/steps.glsl"
#include "common/two_sum.glsl"

layout(constant_id = 0) const uint WEIGHT_TYPE = 0;
// 1: the weight is stored [inputs, outputs].
layout(constant_id = 1) const uint INPUT_MAJOR = 0;
// 1: widths and strides are multiples of 4.
layout(constant_id = 2) const uint ALIGNED = 0;

const uint LANES = 16u;
const uint STRIDE = 64u;

const uint ADD = 1u;
const uint FINISH = 2u;

// Row t of the call reads row x_first + t of x and of the batch and writes row y_first + t of y from y_column on.
layout(push_constant, std430) uniform Push {
    uvec2 weight; uvec2 x; uvec2 y; uvec2 batch; uvec2 u; uvec2 bias;
    uint scales; uint inputs; uint outputs; uint rows;
    uint x_first; uint x_stride; uint y_first; uint y_stride; uint y_column;
    uint site; uint u_stride; uint bias_type; uint mode; float scale;
} push;

// Elements k..k+3 of a row of x that begins at element `row`; zero beyond the last.
vec4 input4(uint row, uint k)
{
    if (ALIGNED != 0u)
        return load_f32x4(push.x, (row + k) >> 2);
    vec4 v = vec4(0.0);
    uint count = min(4u, push.inputs - k);
    for (uint i = 0u; i < count; i++)
        v[i] = load_f32(push.x, row + k + i);
    return v;
}

// W[o, k..k+3]; zero beyond the last input.
vec4 weight4(uint o, uint k)
{
    if (INPUT_MAJOR == 0u && ALIGNED != 0u)
        return load_weight4(push.weight, WEIGHT_TYPE, push.scales, o * push.inputs + k);
    vec4 v = vec4(0.0);
    uint count = ALIGNED != 0u ? 4u : min(4u, push.inputs - k);
    for (uint i = 0u; i < count; i++)
        v[i] = load_weight(push.weight, WEIGHT_TYPE, push.scales, INPUT_MAJOR != 0u ? (k + i) * push.outputs + o : o * push.inputs + k + i);
    return v;
}

// Ends output o of row t, whose product is `sum`.
void end_output(uint t, uint o, float sum)
{
    uint at = (push.y_first + t) * push.y_stride + push.y_column + o;
    precise float y = sum;
    if (push.mode == FINISH) {
        uint row = push.x_first + t;
        uvec2 site = site_of(row_path(push.batch, row), push.site);
        y = apply_steps(site, y, push.u, row * push.u_stride, o, ALL_STEPS);
        y = add_bias(site, y, push.bias, push.bias_type, o);
    } else {
        y = push.mode == ADD ? fma(push.scale, y, load_f32(push.y, at)) : push.scale * y;
    }
    store_f32(push.y, at, y);
}

#endif
