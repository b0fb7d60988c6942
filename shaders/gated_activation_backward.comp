#version 460
// dgate += dy * up * f'(gate), dup += dy * f(gate).
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
#include "common/activations.glsl"
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint KIND = 0;
layout(push_constant, std430) uniform Push { uvec2 gate; uvec2 up; uvec2 dy; uvec2 dgate; uvec2 dup; uint count; } push;

void main()
{
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < push.count; i += stride) {
        float g = load_f32(push.gate, i), u = load_f32(push.up, i), d = load_f32(push.dy, i);
        store_f32(push.dgate, i, fma(d * u, slope(KIND, g), load_f32(push.dgate, i)));
        store_f32(push.dup, i, fma(d, activate(KIND, g), load_f32(push.dup, i)));
    }
}
