#version 460
// y = 0.
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Push { uvec2 y; uint count; } push;

void main()
{
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < push.count; i += stride)
        store_f32(push.y, i, 0.0);
}
