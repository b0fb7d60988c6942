#version 460
// dx += dy * f'(x).
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
#include "common/activations.glsl"
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint KIND = 0;
layout(push_constant, std430) uniform Push { uvec2 x; uvec2 dy; uvec2 dx; uint count; } push;

void main()
{
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < push.count; i += stride)
        store_f32(push.dx, i, fma(load_f32(push.dy, i), slope(KIND, load_f32(push.x, i)), load_f32(push.dx, i)));
}
