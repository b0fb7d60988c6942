// RmsNorm and LayerNorm: y = (offset + gain) * (x - mean) / sqrt(mean square + eps) + bias over each piece of a row. A workgroup is a piece.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/norm.glsl"

layout(push_constant, std430) uniform Push
{
    uvec2 batch; uvec2 x; uvec2 y; uvec2 gain; uvec2 bias;
    uint site; uint gain_type; uint bias_type; uint rows; uint pieces; uint width; uint heads; float epsilon; float offset;
} push;

void main()
{
    for (uint piece = gl_WorkGroupID.x; piece < push.rows * push.pieces; piece += gl_NumWorkGroups.x) {
        uvec2 site = site_of(row_path(push.batch, piece / push.pieces), push.site), gain = site_weight(site), bias = site_bias(site);
        uint gain_type = push.gain_type, bias_type = push.bias_type, at = piece * push.width;
        if (is_null(gain))
            gain = push.gain;
        else
            gain_type = site_weight_type(site);
        if (is_null(bias))
            bias = push.bias;
        else
            bias_type = site_bias_type(site);
        uint head = piece % push.heads * push.width;
        Moments m = moments(push.x, at, push.width, push.epsilon);
        for (uint d = STEP * gl_LocalInvocationIndex; d < push.width; d += STEP * THREADS) {
            precise vec4 y = normal(load_piece(push.x, at, d), m) * load_gain(gain, gain_type, head + d, push.offset);
            if (!is_null(bias))
                y = y + load_parameter(bias, bias_type, head + d);
            store_piece(push.y, at, d, y);
        }
    }
}
