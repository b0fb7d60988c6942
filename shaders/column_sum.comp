// c[o] += sum over t of scale * x[t, o], or of x[t, o] * z[t, o] where z is given; rows in ascending order from what c holds.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Push {
    uvec2 x; uvec2 z; uvec2 c;
    uint rows; uint columns; uint x_first; uint x_stride; uint z_first; uint z_stride; float scale;
} push;

void main()
{
    uint o = gl_GlobalInvocationID.x;
    if (o >= push.columns)
        return;
    bool product = !is_null(push.z);
    precise float sum = load_f32(push.c, o);
    for (uint t = 0u; t < push.rows; t++) {
        float factor = product ? load_f32(push.z, (push.z_first + t) * push.z_stride + o) : push.scale;
        sum = fma(load_f32(push.x, (push.x_first + t) * push.x_stride + o), factor, sum);
    }
    store_f32(push.c, o, sum);
}
