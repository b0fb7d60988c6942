// y = W * x for a few rows: 16 outputs a workgroup, 16 lanes an output, every weight read once for ROWS rows.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/product.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 3) const uint ROWS = 1;

const uint OUTPUTS = 16u;
const uint PITCH = LANES + 1u;
// Reads in flight a thread, to hide their latency.
const uint AHEAD = 4u;

shared float lanes[ROWS * OUTPUTS * PITCH];

void main()
{
    // Neighbouring threads read neighbouring words: lanes of one output, or outputs of one lane.
    uint thread = gl_LocalInvocationIndex, high = thread >> 4, low = thread & 15u;
    uint lane = INPUT_MAJOR != 0u ? high : low, place = INPUT_MAJOR != 0u ? low : high;
    uint first = gl_WorkGroupID.y * ROWS, o = min(gl_WorkGroupID.x * OUTPUTS + place, push.outputs - 1u);
    precise float sums[ROWS];
    uint x[ROWS];
    for (uint t = 0u; t < ROWS; t++) {
        sums[t] = 0.0;
        x[t] = (push.x_first + min(first + t, push.rows - 1u)) * push.x_stride;
    }
    uint k = 4u * lane;
    for (; k + (AHEAD - 1u) * STRIDE < push.inputs; k += AHEAD * STRIDE) {
        vec4 w[AHEAD];
        for (uint i = 0u; i < AHEAD; i++)
            w[i] = weight4(o, k + i * STRIDE);
        for (uint t = 0u; t < ROWS; t++)
            for (uint i = 0u; i < AHEAD; i++) {
                vec4 v = input4(x[t], k + i * STRIDE);
                sums[t] = fma(w[i].w, v.w, fma(w[i].z, v.z, fma(w[i].y, v.y, fma(w[i].x, v.x, sums[t]))));
            }
    }
    for (; k < push.inputs; k += STRIDE) {
        vec4 w = weight4(o, k);
        for (uint t = 0u; t < ROWS; t++) {
            vec4 v = input4(x[t], k);
            sums[t] = fma(w.w, v.w, fma(w.z, v.z, fma(w.y, v.y, fma(w.x, v.x, sums[t]))));
        }
    }
    for (uint t = 0u; t < ROWS; t++)
        lanes[(t * OUTPUTS + place) * PITCH + lane] = sums[t];
    barrier();

    uint t = thread >> 4;
    o = gl_WorkGroupID.x * OUTPUTS + low;
    if (t >= ROWS || first + t >= push.rows || o >= push.outputs)
        return;
    TwoSum sum = TwoSum(0.0, 0.0);
    for (uint p = 0u; p < LANES; p++)
        add_to(sum, lanes[thread * PITCH + p]);
    end_output(first + t, o, total_of(sum));
}
