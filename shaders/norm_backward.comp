// Backward of RmsNorm and LayerNorm in x: with n = (x - mean) * r and g = (offset + gain) * dy, dx += r * (g - mean(g) - n * mean(g * n)); RmsNorm has no mean(g). A workgroup is a piece.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/norm.glsl"

layout(push_constant, std430) uniform Push
{
    uvec2 batch; uvec2 x; uvec2 dy; uvec2 dx; uvec2 statistics; uvec2 gain;
    uint site; uint gain_type; uint rows; uint pieces; uint width; uint heads; float epsilon; float offset;
} push;

void main()
{
    for (uint piece = gl_WorkGroupID.x; piece < push.rows * push.pieces; piece += gl_NumWorkGroups.x) {
        uint at = piece * push.width;
        Moments m = moments(push.x, at, push.width, push.epsilon);
        if (!is_null(push.statistics) && gl_LocalInvocationIndex == 0u)
            store_f32x4(push.statistics, piece, vec4(m.high, m.low, m.scale, m.scale_low));
        if (is_null(push.dx))
            continue;
        uvec2 site = site_of(row_path(push.batch, piece / push.pieces), push.site), gain = site_weight(site);
        uint gain_type = push.gain_type;
        if (is_null(gain))
            gain = push.gain;
        else
            gain_type = site_weight_type(site);
        uint head = piece % push.heads * push.width;
        precise float sum = 0.0, along = 0.0;
        for (uint d = STEP * gl_LocalInvocationIndex; d < push.width; d += STEP * THREADS) {
            precise vec4 g = load_gain(gain, gain_type, head + d, push.offset) * load_piece(push.dy, at, d), n = normal(load_piece(push.x, at, d), m);
            if (SUBTRACT_MEAN != 0u)
                sum = sum_quad(g, sum);
            along = fma(g.w, n.w, fma(g.z, n.z, fma(g.y, n.y, fma(g.x, n.x, along))));
        }
        if (SUBTRACT_MEAN != 0u)
            sum = sum_threads(sum) / float(push.width);
        along = sum_threads(along) / float(push.width);
        for (uint d = STEP * gl_LocalInvocationIndex; d < push.width; d += STEP * THREADS) {
            precise vec4 g = load_gain(gain, gain_type, head + d, push.offset) * load_piece(push.dy, at, d), n = normal(load_piece(push.x, at, d), m);
            precise vec4 dx = load_piece(push.dx, at, d) + m.scale * (g - sum - n * along);
            store_piece(push.dx, at, d, dx);
        }
    }
}
