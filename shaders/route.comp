#version 460
// weights = softmax(logits) where a column is among the row's best k (of them alone where renormalised), else 0. A thread is a row.
#extension GL_GOOGLE_include_directive : require
#include "common/route.glsl"
layout(local_size_x = 64) in;
layout(push_constant, std430) uniform Push { uvec2 logits; uvec2 dweights; uvec2 weights; uint rows; uint columns; uint k; uint renormalise; } push;

void main()
{
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint row = gl_GlobalInvocationID.x; row < push.rows; row += stride) {
        uint start = row * push.columns;
        Routing r = route_row(push.logits, start, push.columns, push.k, push.renormalise != 0u);
        for (uint e = 0u; e < push.columns; e++) {
            float z = load_f32(push.logits, start + e);
            store_f32(push.weights, start + e, is_behind(z, e, r.value, r.column) ? 0.0 : exp_or_zero(z - r.largest) * r.scale);
        }
    }
}
