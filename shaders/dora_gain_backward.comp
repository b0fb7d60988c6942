#version 460
// dm[o] += dgain[o] / norms[o], nothing where the norm is 0.
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Push { uvec2 norms; uvec2 dgain; uvec2 dm; uint count; } push;

void main()
{
    for (uint o = gl_GlobalInvocationID.x; o < push.count; o += 256u * gl_NumWorkGroups.x) {
        float norm = load_f32(push.norms, o);
        if (norm > 0.0)
            store_f32(push.dm, o, load_f32(push.dm, o) + load_f32(push.dgain, o) / norm);
    }
}
