// c[token t, d] += dy[t, d] for the rows of one path, in ascending order: a thread is a column. Element (token, column) of c is token * token_stride + column * column_stride,
// so that c is a table's gradient or A's. With `split` a token whose row the path replaces adds to `replaced` instead. Null takes nothing.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/batch.glsl"
#include "common/replaced.glsl"

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Push {
    uvec2 dy; uvec2 c; uvec2 replaced; uvec2 batch;
    uint rows; uint columns; uint batch_first; uint dy_first; uint dy_stride; uint token_stride; uint column_stride; uint site; uint split;
} push;

void add(uvec2 c, uint at, float value)
{
    if (is_null(c))
        return;
    precise float sum = load_f32(c, at) + value;
    store_f32(c, at, sum);
}

void main()
{
    uint column = gl_GlobalInvocationID.x;
    if (column >= push.columns)
        return;
    for (uint t = 0u; t < push.rows; t++) {
        uint row = push.batch_first + t, token = row_token(push.batch, row);
        uint at = push.split != 0u ? find_replaced(site_of(row_path(push.batch, row), push.site), token) : NOT_REPLACED;
        float value = load_f32(push.dy, (push.dy_first + t) * push.dy_stride + column);
        if (at != NOT_REPLACED)
            add(push.replaced, at * push.columns + column, value);
        else
            add(push.c, token * push.token_stride + column * push.column_stride, value);
    }
}
