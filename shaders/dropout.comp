// y = factor * x, or y += factor * x: factor is 0 or 1 / (1 - p) by SplitMix64 of seed, row and column (Dropout.Factor), 64 bits in two words.
// Words of the mask: {seed, seed's upper half, threshold, factor}.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"

layout(local_size_x = 256) in;

layout(push_constant, std430) uniform Push {
    uvec2 x; uvec2 y; uvec2 mask;
    uint rows; uint columns; uint x_first; uint x_stride; uint y_first; uint y_stride; uint add;
} push;

const uvec2 GOLDEN = uvec2(0x7F4A7C15u, 0x9E3779B9u);

uvec2 multiply(uvec2 a, uvec2 b)
{
    uint high, low;
    umulExtended(a.x, b.x, high, low);
    return uvec2(low, high + a.x * b.y + a.y * b.x);
}

uvec2 sum(uvec2 a, uvec2 b)
{
    uint carry, low = uaddCarry(a.x, b.x, carry);
    return uvec2(low, a.y + b.y + carry);
}

// z ^ (z >> n), 0 < n < 32.
uvec2 fold(uvec2 z, uint n) { return uvec2(z.x ^ (z.x >> n | z.y << (32u - n)), z.y ^ z.y >> n); }

uint upper_bits(uvec2 z)
{
    z = multiply(fold(z, 30u), uvec2(0x1CE4E5B9u, 0xBF58476Du));
    z = multiply(fold(z, 27u), uvec2(0x133111EBu, 0x94D049BBu));
    return fold(z, 31u).y;
}

void main()
{
    uvec4 mask = uvec4(load_address(push.mask, 0u), load_address(push.mask, 2u));
    for (uint t = gl_WorkGroupID.y; t < push.rows; t += gl_NumWorkGroups.y)
        for (uint i = gl_GlobalInvocationID.x; i < push.columns; i += 256u * gl_NumWorkGroups.x) {
            bool kept = upper_bits(sum(mask.xy, multiply(uvec2(i, t), GOLDEN))) >= mask.z;
            precise float value = load_f32(push.x, (push.x_first + t) * push.x_stride + i) * (kept ? uintBitsToFloat(mask.w) : 0.0);
            uint at = (push.y_first + t) * push.y_stride + i;
            if (push.add != 0u)
                value = load_f32(push.y, at) + value;
            store_f32(push.y, at, value);
        }
}
