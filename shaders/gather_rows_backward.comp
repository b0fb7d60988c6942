#version 460
// dx[numbers[i]] += dy[i]; the numbers differ, so no two threads write one element.
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Push { uvec2 dy; uvec2 dx; uvec2 numbers; uint count; uint columns; } push;

void main()
{
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < push.count; i += stride) {
        uint to = load_u32(push.numbers, i / push.columns) * push.columns + i % push.columns;
        store_f32(push.dx, to, load_f32(push.dx, to) + load_f32(push.dy, i));
    }
}
