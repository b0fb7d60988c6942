#version 460
// dx[i] += weights[r, column] * dy[r], dweights[r, column] += dy[r] . x[i], r = numbers[i] (no numbers: i), where the weight is not 0. A workgroup is a row.
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
const uint THREADS = 256u;
#include "common/reduce.glsl"
layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Push { uvec2 x; uvec2 weights; uvec2 dy; uvec2 dx; uvec2 dweights; uvec2 numbers; uint rows; uint columns; uint weight_columns; uint column; } push;

void main()
{
    for (uint i = gl_WorkGroupID.x; i < push.rows; i += gl_NumWorkGroups.x) {
        uint row = is_null(push.numbers) ? i : load_u32(push.numbers, i), factor = row * push.weight_columns + push.column;
        float weight = load_f32(push.weights, factor);
        if (weight == 0.0)
            continue;
        precise float part = 0.0;
        for (uint d = gl_LocalInvocationID.x; d < push.columns; d += THREADS) {
            uint at = i * push.columns + d;
            float dy = load_f32(push.dy, row * push.columns + d);
            part = fma(dy, load_f32(push.x, at), part);
            store_f32(push.dx, at, fma(weight, dy, load_f32(push.dx, at)));
        }
        float sum = sum_threads(part);
        if (gl_LocalInvocationID.x == 0u)
            store_f32(push.dweights, factor, load_f32(push.dweights, factor) + sum);
    }
}
