#version 460
// y[i] = x[numbers[i]].
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Push { uvec2 x; uvec2 y; uvec2 numbers; uint count; uint columns; } push;

void main()
{
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < push.count; i += stride)
        store_f32(push.y, i, load_f32(push.x, load_u32(push.numbers, i / push.columns) * push.columns + i % push.columns));
}
