#version 460
// The best few of a part of a row, in order: a NaN before every number, then the larger, equals by ascending place. A workgroup is a part of a row; where a row has several,
// what they found, pairs of value and column, is the row of another dispatch. Bits are compared, not floats: what a device does with NaN is its own.
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Push { uvec2 x; uvec2 y; uint rows; uint columns; uint x_stride; uint y_stride; uint part; uint count; uint pairs; } push;

// Place of what is behind the last of a part that has fewer than are wanted.
const float NOTHING = -1.0;

shared uint s_key[256];
shared uint s_place[256];

// Ascending with the number; above all for NaN, 0 for nothing.
uint key_of(uint row, uint place)
{
    uint bits = load_u32(push.x, row + (push.pairs != 0u ? 2u * place : place)), size = bits & 0x7FFFFFFFu;
    if (push.pairs != 0u && load_f32(push.x, row + 2u * place + 1u) == NOTHING)
        return 0u;
    if (size > 0x7F800000u)
        return 0xFFFFFFFFu;
    return size == 0u ? 0x80000000u : (bits & 0x80000000u) != 0u ? ~bits : bits | 0x80000000u;
}

// The best of this thread's places that has a lower key, or this one at a place from `from` on.
uvec2 next_best(uint row, uint start, uint end, uint key, uint from)
{
    uvec2 best = uvec2(0u, end);
    for (uint p = start + gl_LocalInvocationIndex; p < end; p += 256u) {
        uint k = key_of(row, p);
        if (k > best.x && (k < key || (k == key && p >= from)))
            best = uvec2(k, p);
    }
    return best;
}

void main()
{
    uint t = gl_LocalInvocationIndex, start = gl_WorkGroupID.x * push.part, end = min(start + push.part, push.columns);
    for (uint r = gl_WorkGroupID.y; r < push.rows; r += gl_NumWorkGroups.y) {
        uint row = r * push.x_stride, to = r * push.y_stride + 2u * gl_WorkGroupID.x * push.count;
        uvec2 own = next_best(row, start, end, 0xFFFFFFFFu, 0u);
        for (uint j = 0u; j < push.count; j++) {
            s_key[t] = own.x;
            s_place[t] = own.y;
            barrier();
            for (uint half_ = 128u; half_ > 0u; half_ >>= 1) {
                if (t < half_ && (s_key[t + half_] > s_key[t] || (s_key[t + half_] == s_key[t] && s_place[t + half_] < s_place[t]))) {
                    s_key[t] = s_key[t + half_];
                    s_place[t] = s_place[t + half_];
                }
                barrier();
            }
            uint key = s_key[0], place = s_place[0];
            barrier();
            if (t == 0u) {
                bool pairs = push.pairs != 0u;
                store_u32(push.y, to + 2u * j, key == 0u ? 0u : load_u32(push.x, row + (pairs ? 2u * place : place)));
                store_f32(push.y, to + 2u * j + 1u, key == 0u ? NOTHING : pairs ? load_f32(push.x, row + 2u * place + 1u) : float(place));
            }
            // Only who lost its best looks for another.
            if (key != 0u && own == uvec2(key, place) && j + 1u < push.count)
                own = next_best(row, start, end, key, place + 1u);
        }
    }
}
