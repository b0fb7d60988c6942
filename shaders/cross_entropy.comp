#version 460
// Softmax cross-entropy of a row with its label, and its gradient in place: loss = -log softmax(z)[label], z <- scale * (softmax(z) - onehot(label)); all 0 for a negative label.
// A workgroup is a row; sums are made thread by thread, then by a fixed tree.
#extension GL_GOOGLE_include_directive : require
#include "common/memory.glsl"
#include "common/math.glsl"
layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Push { uvec2 z; uvec2 labels; uvec2 scales; uvec2 losses; uint rows; uint columns; } push;

shared float s_part[256];

// exp_f32 ends at e^-87.3.
float exp_or_zero(float x) { return x < -87.0 ? 0.0 : exp_f32(x); }

float reduce(float value, bool largest)
{
    uint t = gl_LocalInvocationID.x;
    s_part[t] = value;
    barrier();
    for (uint half_ = 128u; half_ > 0u; half_ >>= 1) {
        if (t < half_)
            s_part[t] = largest ? max(s_part[t], s_part[t + half_]) : s_part[t] + s_part[t + half_];
        barrier();
    }
    float result = s_part[0];
    barrier();
    return result;
}

void main()
{
    uint t = gl_LocalInvocationID.x;
    for (uint row = gl_WorkGroupID.x; row < push.rows; row += gl_NumWorkGroups.x) {
        uint start = row * push.columns;
        int label = int(load_u32(push.labels, row));
        if (label < 0) {
            for (uint i = t; i < push.columns; i += 256u)
                store_f32(push.z, start + i, 0.0);
            if (t == 0u)
                store_f32(push.losses, row, 0.0);
            continue;
        }
        float largest = uintBitsToFloat(0xFF800000u);
        for (uint i = t; i < push.columns; i += 256u)
            largest = max(largest, load_f32(push.z, start + i));
        largest = reduce(largest, true);
        // The label's own term is kept apart, so that what is left of 1 is exact where the model is sure.
        float score = load_f32(push.z, start + uint(label)), sum = 0.0;
        for (uint i = t; i < push.columns; i += 256u) {
            float e = i == uint(label) ? 0.0 : exp_or_zero(load_f32(push.z, start + i) - largest);
            sum += e;
        }
        float others = reduce(sum, false), own = exp_or_zero(score - largest), scale = load_f32(push.scales, row), total = others + own;
        for (uint i = t; i < push.columns; i += 256u) {
            float e = exp_or_zero(load_f32(push.z, start + i) - largest);
            store_f32(push.z, start + i, i == uint(label) ? -scale * others / total : scale * (e / total));
        }
        if (t == 0u)
            store_f32(push.losses, row, own > 0.5 ? log_one_plus_f32(others / own) : log_f32(total) - (score - largest));
    }
}
