#version 460
// y = f(gate) * up. arXiv:2002.05202.
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
#include "common/activations.glsl"
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint KIND = 0;
layout(push_constant, std430) uniform Push { uvec2 gate; uvec2 up; uvec2 y; uint count; } push;

void main()
{
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < push.count; i += stride)
        store_f32(push.y, i, activate(KIND, load_f32(push.gate, i)) * load_f32(push.up, i));
}
