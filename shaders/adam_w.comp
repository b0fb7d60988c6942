#version 460
// p <- p * decay, m <- b1 * m + (1 - b1) * g, v <- b2 * v + (1 - b2) * g^2, p <- p - rate * m / (sqrt(v) / root + eps). arXiv:1711.05101.
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Push {
    uvec2 p; uvec2 g; uvec2 m; uvec2 v;
    uint count; float decay; float beta1; float rest1; float beta2; float rest2; float rate; float root; float epsilon; float gradient_scale;
} push;

void main()
{
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < push.count; i += stride) {
        precise float g = load_f32(push.g, i) * push.gradient_scale;
        precise float m = fma(push.rest1, g, push.beta1 * load_f32(push.m, i));
        precise float v = fma(push.rest2 * g, g, push.beta2 * load_f32(push.v, i));
        store_f32(push.m, i, m);
        store_f32(push.v, i, v);
        precise float p = load_f32(push.p, i) * push.decay;
        store_f32(push.p, i, p - push.rate * m / (sqrt(v) / push.root + push.epsilon));
    }
}
