// y[t, o] = gain[o] * x[t, o].
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
#include "common/weights.glsl"

layout(local_size_x = 256) in;

layout(push_constant, std430) uniform Push { uvec2 x; uvec2 gain; uvec2 y; uint rows; uint columns; uint x_first; uint x_stride; uint y_first; uint y_stride; uint gain_type; } push;

void main()
{
    for (uint t = gl_WorkGroupID.y; t < push.rows; t += gl_NumWorkGroups.y)
        for (uint o = gl_GlobalInvocationID.x; o < push.columns; o += 256u * gl_NumWorkGroups.x)
            store_f32(push.y, (push.y_first + t) * push.y_stride + o, load_vector(push.gain, push.gain_type, o) * load_f32(push.x, (push.x_first + t) * push.x_stride + o));
}
