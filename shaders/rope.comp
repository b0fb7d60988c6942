// Rotates the first 2 * pairs dimensions of every head in place by the row's angles; a sign of -1 rotates back. A thread is a pair.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint ADJACENT = 0;
layout(push_constant, std430) uniform Push
{
    uvec2 x; uvec2 cos; uvec2 sin;
    uint rows; uint heads; uint head_size; uint pairs; float sign;
} push;

void main()
{
    for (uint n = gl_GlobalInvocationID.x; n < push.rows * push.heads * push.pairs; n += gl_NumWorkGroups.x * 256u) {
        uint i = n % push.pairs, head = n / push.pairs, angle = head / push.heads * push.pairs + i;
        uint first = head * push.head_size + (ADJACENT != 0u ? 2u * i : i), second = ADJACENT != 0u ? first + 1u : first + push.pairs;
        precise float c = load_f32(push.cos, angle), s = push.sign * load_f32(push.sin, angle), a = load_f32(push.x, first), b = load_f32(push.x, second);
        precise float turned = fma(a, c, -(b * s)), other = fma(a, s, b * c);
        store_f32(push.x, first, turned);
        store_f32(push.x, second, other);
    }
}
