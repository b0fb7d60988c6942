#version 460
// dlogits += p * (dweights where chosen - sum over the chosen of dweights * p), p the softmax; of renormalised ones only the chosen. A thread is a row.
#extension GL_GOOGLE_include_directive : require
#include "common/route.glsl"
layout(local_size_x = 64) in;
layout(push_constant, std430) uniform Push { uvec2 logits; uvec2 dweights; uvec2 dlogits; uint rows; uint columns; uint k; uint renormalise; } push;

void main()
{
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint row = gl_GlobalInvocationID.x; row < push.rows; row += stride) {
        uint start = row * push.columns;
        bool renormalise = push.renormalise != 0u;
        Routing r = route_row(push.logits, start, push.columns, push.k, renormalise);
        precise float mean = 0.0;
        for (uint e = 0u; e < push.columns; e++) {
            float z = load_f32(push.logits, start + e);
            if (!is_behind(z, e, r.value, r.column))
                mean = fma(load_f32(push.dweights, start + e), exp_or_zero(z - r.largest) * r.scale, mean);
        }
        for (uint e = 0u; e < push.columns; e++) {
            float z = load_f32(push.logits, start + e);
            bool chosen = !is_behind(z, e, r.value, r.column);
            if (!chosen && renormalise)
                continue;
            float d = (chosen ? load_f32(push.dweights, start + e) : 0.0) - mean;
            store_f32(push.dlogits, start + e, fma(exp_or_zero(z - r.largest) * r.scale, d, load_f32(push.dlogits, start + e)));
        }
    }
}
