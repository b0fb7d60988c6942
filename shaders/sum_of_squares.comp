#version 460
// Sums of squares of blocks of 4096 elements as {sum, what it lost, exponent}: (sum + lost) * 4^exponent, with twice the digits of F32 and no overflow. A block is divided by the power of two
// of its largest element. Knuth's two-sum; Dekker's product by Veltkamp's splitting, because an fma need not be fused.
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Push { uvec2 x; uvec2 sums; uint count; uint blocks; } push;

const uint BLOCK = 4096u;

shared vec2 s_part[256];

vec2 plus(vec2 a, vec2 b)
{
    precise float sum = a.x + b.x, other = sum - a.x;
    precise float lost = (a.x - (sum - other)) + (b.x - other);
    precise float rest = lost + (a.y + b.y);
    return vec2(sum, rest);
}

vec2 square(float v)
{
    precise float spread = 4097.0 * v, high = spread - (spread - v), low = v - high;
    precise float product = v * v;
    precise float lost = ((high * high - product) + 2.0 * high * low) + low * low;
    return vec2(product, lost);
}

float element(uint i) { return i < push.count ? load_f32(push.x, i) : 0.0; }

void main()
{
    uint t = gl_LocalInvocationID.x;
    for (uint block = gl_WorkGroupID.x; block < push.blocks; block += gl_NumWorkGroups.x) {
        uint start = block * BLOCK + t;
        float largest = 0.0;
        for (uint j = 0u; j < BLOCK; j += 256u)
            largest = max(largest, abs(element(start + j)));
        s_part[t].x = largest;
        barrier();
        for (uint width = 128u; width > 0u; width >>= 1) {
            if (t < width)
                s_part[t].x = max(s_part[t].x, s_part[t + width].x);
            barrier();
        }
        // Zero, subnormal and not finite stay as they are.
        int exponent = int(floatBitsToUint(s_part[0].x) >> 23) - 127;
        if (exponent < -125 || exponent > 126)
            exponent = 0;
        float scale = uintBitsToFloat(uint(127 - exponent) << 23);
        barrier();
        vec2 sum = vec2(0.0);
        for (uint j = 0u; j < BLOCK; j += 256u)
            sum = plus(sum, square(element(start + j) * scale));
        s_part[t] = sum;
        barrier();
        for (uint width = 128u; width > 0u; width >>= 1) {
            if (t < width)
                s_part[t] = plus(s_part[t], s_part[t + width]);
            barrier();
        }
        if (t == 0u) {
            store_f32(push.sums, 3u * block, s_part[0].x);
            store_f32(push.sums, 3u * block + 1u, s_part[0].y);
            store_u32(push.sums, 3u * block + 2u, uint(exponent));
        }
        barrier();
    }
}
