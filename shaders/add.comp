#version 460
// z = x + y, four at a time, the rest by itself.
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Push { uvec2 x; uvec2 y; uvec2 z; uint count; } push;

void main()
{
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x, quads = push.count / 4u;
    for (uint i = gl_GlobalInvocationID.x; i < quads; i += stride)
        store_f32x4(push.z, i, load_f32x4(push.x, i) + load_f32x4(push.y, i));
    for (uint i = 4u * quads + gl_GlobalInvocationID.x; i < push.count; i += stride)
        store_f32(push.z, i, load_f32(push.x, i) + load_f32(push.y, i));
}
