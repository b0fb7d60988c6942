#version 460
// y = factor * x.
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Push { uvec2 x; uvec2 y; uint count; float factor; } push;

void main()
{
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < push.count; i += stride)
        store_f32(push.y, i, push.factor * load_f32(push.x, i));
}
