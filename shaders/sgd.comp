#version 460
// p <- p - rate * (g + decay * p).
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Push { uvec2 p; uvec2 g; uint count; float rate; float decay; float gradient_scale; } push;

void main()
{
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < push.count; i += stride) {
        precise float p = load_f32(push.p, i), d = fma(push.decay, p, load_f32(push.g, i) * push.gradient_scale);
        store_f32(push.p, i, p - push.rate * d);
    }
}
