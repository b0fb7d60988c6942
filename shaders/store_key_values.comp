// Writes each row's key and value to its sequence's cache at its position. A thread is a quad of a row, or a float where quads do not divide its width.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/batch.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint BY_QUADS = 1;
layout(push_constant, std430) uniform Push
{
    uvec2 batch; uvec2 keys; uvec2 values;
    uint layer; uint rows; uint width;
} push;

void main()
{
    uint columns = BY_QUADS != 0u ? push.width / 4u : push.width;
    for (uint n = gl_GlobalInvocationID.x; n < push.rows * columns; n += gl_NumWorkGroups.x * 256u) {
        uint row = n / columns, to = row_position(push.batch, row) * columns + n % columns;
        uvec2 cache = load_sequence(push.batch, row_sequence(push.batch, row)).cache, keys = cache_keys(cache, push.layer), values = cache_values(cache, push.layer);
        if (BY_QUADS != 0u) {
            store_u32x4(keys, to, load_u32x4(push.keys, n));
            store_u32x4(values, to, load_u32x4(push.values, n));
        } else {
            store_u32(keys, to, load_u32(push.keys, n));
            store_u32(values, to, load_u32(push.values, n));
        }
    }
}
