#version 460
// Rows of words: y[r * y_stride + c] = x[r * x_stride + c], c < columns; element i of count is row i / columns.
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Push { uvec2 x; uvec2 y; uint columns; uint x_stride; uint y_stride; uint count; } push;

void main()
{
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < push.count; i += stride) {
        uint row = i / push.columns, column = i - row * push.columns;
        store_u32(push.y, row * push.y_stride + column, load_u32(push.x, row * push.x_stride + column));
    }
}
