// Partial sums of attention_row, in order: a workgroup is one row's head.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/attention.glsl"

layout(local_size_x = 128) in;

void main()
{
    uint quad = gl_LocalInvocationIndex, head = gl_WorkGroupID.x;
    if (quad >= QUADS)
        return;
    for (uint row = gl_WorkGroupID.y; row < push.rows; row += gl_NumWorkGroups.y) {
        Seen seen = seen_by(load_sequence(push.batch, row_sequence(push.batch, row)), row);
        precise vec4 total = vec4(0.0);
        precise float total_top = NONE, total_sum = 0.0;
        for (uint split = 0u; split < SPLITS; split++) {
            if (!sees_split(seen, split))
                continue;
            uint place = ((row * push.heads + head) * SPLITS + split) * (QUADS + 1u);
            vec4 state = load_f32x4(push.scratch, place), value = load_f32x4(push.scratch, place + 1u + quad);
            float top = state.x, sum = state.y;
            precise float higher = max(total_top, top);
            precise float keep = decay(total_top - higher), take = decay(top - higher);
            total_sum = fma(total_sum, keep, sum * take);
            total = fma(total, vec4(keep), value * take);
            total_top = higher;
        }
        store_head(push.y, (row * push.heads + head) * HEAD_SIZE, quad, total / total_sum);
    }
}
