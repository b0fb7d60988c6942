// C[i, j] += sum over t of (scale * a[t, i]) * b[t, j], rows in ascending order from what C holds: the bits do not depend on where the rows were cut.
// 16 x 16 threads of TALL x WIDE elements; 16 rows at a time in shared memory.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint TALL = 4;
layout(constant_id = 1) const uint WIDE = 4;

layout(push_constant, std430) uniform Push {
    uvec2 a; uvec2 b; uvec2 c;
    uint rows; uint height; uint width; uint a_first; uint a_stride; uint a_column; uint b_first; uint b_stride; uint b_column; float scale;
} push;

const uint DEPTH = 16u;

shared float left[DEPTH * 16u * TALL];
shared float right[DEPTH * 16u * WIDE];

void main()
{
    uint thread = gl_LocalInvocationIndex, x = thread & 15u, y = thread >> 4;
    uint top = gl_WorkGroupID.y * 16u * TALL, side = gl_WorkGroupID.x * 16u * WIDE;
    precise float sums[TALL * WIDE];
    for (uint i = 0u; i < TALL; i++)
        for (uint j = 0u; j < WIDE; j++) {
            uint row = top + y + 16u * i, column = side + x + 16u * j;
            sums[i * WIDE + j] = row < push.height && column < push.width ? load_f32(push.c, row * push.width + column) : 0.0;
        }
    for (uint start = 0u; start < push.rows; start += DEPTH) {
        uint depth = min(DEPTH, push.rows - start);
        for (uint e = thread; e < DEPTH * 16u * TALL; e += 256u) {
            uint t = e / (16u * TALL), i = top + e % (16u * TALL);
            precise float value = t < depth && i < push.height ? push.scale * load_f32(push.a, (push.a_first + start + t) * push.a_stride + push.a_column + i) : 0.0;
            left[e] = value;
        }
        for (uint e = thread; e < DEPTH * 16u * WIDE; e += 256u) {
            uint t = e / (16u * WIDE), j = side + e % (16u * WIDE);
            right[e] = t < depth && j < push.width ? load_f32(push.b, (push.b_first + start + t) * push.b_stride + push.b_column + j) : 0.0;
        }
        barrier();
        for (uint t = 0u; t < depth; t++)
            for (uint i = 0u; i < TALL; i++) {
                float a = left[t * 16u * TALL + y + 16u * i];
                for (uint j = 0u; j < WIDE; j++)
                    sums[i * WIDE + j] = fma(a, right[t * 16u * WIDE + x + 16u * j], sums[i * WIDE + j]);
            }
        barrier();
    }
    for (uint i = 0u; i < TALL; i++)
        for (uint j = 0u; j < WIDE; j++) {
            uint row = top + y + 16u * i, column = side + x + 16u * j;
            if (row < push.height && column < push.width)
                store_f32(push.c, row * push.width + column, sums[i * WIDE + j]);
        }
}
