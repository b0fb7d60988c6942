// Backward of RmsNorm and LayerNorm in gain and bias for rows of one path: dgain += dy * (x - mean) * r, dbias += dy. A thread is a column; rows are added in order.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"

layout(local_size_x = 64) in;
layout(push_constant, std430) uniform Push
{
    uvec2 x; uvec2 dy; uvec2 statistics; uvec2 dgain; uvec2 dbias;
    uint first; uint count; uint width; uint heads;
} push;

void main()
{
    uint d = gl_GlobalInvocationID.x;
    if (d >= push.width * push.heads)
        return;
    // A piece's gains are those of its head; the first piece of a row is the first head's.
    uint head = d / push.width, column = d - head * push.width;
    bool gain = !is_null(push.dgain), bias = !is_null(push.dbias);
    precise float of_gain = gain ? load_f32(push.dgain, d) : 0.0, of_bias = bias ? load_f32(push.dbias, d) : 0.0;
    for (uint piece = push.first + head; piece < push.first + push.count; piece += push.heads) {
        float dy = load_f32(push.dy, piece * push.width + column);
        if (gain) {
            vec4 moments = load_f32x4(push.statistics, piece);
            precise float c = load_f32(push.x, piece * push.width + column) - moments.x - moments.y, rest = c * moments.w, n = fma(c, moments.z, rest);
            of_gain = fma(dy, n, of_gain);
        }
        of_bias = of_bias + dy;
    }
    if (gain)
        store_f32(push.dgain, d, of_gain);
    if (bias)
        store_f32(push.dbias, d, of_bias);
}
