#version 460
// y[r] += weights[r, column] * x[i], r = numbers[i] (no numbers: i); a row whose weight is 0 is left as it is.
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Push { uvec2 x; uvec2 y; uvec2 weights; uvec2 numbers; uint count; uint columns; uint weight_columns; uint column; } push;

void main()
{
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < push.count; i += stride) {
        uint row = i / push.columns;
        if (!is_null(push.numbers))
            row = load_u32(push.numbers, row);
        float weight = load_f32(push.weights, row * push.weight_columns + push.column);
        if (weight == 0.0)
            continue;
        uint to = row * push.columns + i % push.columns;
        store_f32(push.y, to, fma(weight, load_f32(push.x, i), load_f32(push.y, to)));
    }
}
