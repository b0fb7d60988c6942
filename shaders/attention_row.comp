// Attention of few rows: a workgroup is one row's head, and one of its partial sums (PARTIAL: they are merged by attention_merge) or all.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/attention.glsl"

layout(local_size_x = 128) in;
layout(constant_id = 1) const uint PARTIAL = 0;

// Slices that are multiplied at once: a thread a key and slice.
const uint WIDE = THREADS / CHUNK;
const uint KEY_PITCH = WIDE * SLICE + 1u;
const uint ROOM = CHUNK * KEY_PITCH > GROUPS * QUADS ? CHUNK * KEY_PITCH : GROUPS * QUADS;

shared vec4 query[QUADS];
// Keys, then sums of values.
shared vec4 tile[ROOM];
shared float slices[THREADS];
shared float scores[CHUNK];
shared float weights[CHUNK];
shared float weight_sums[GROUPS];

void main()
{
    uint thread = gl_LocalInvocationIndex, key = thread % CHUNK, wide = thread / CHUNK, head = gl_WorkGroupID.y;
    for (uint row = gl_WorkGroupID.z; row < push.rows; row += gl_NumWorkGroups.z) {
        Sequence s = load_sequence(push.batch, row_sequence(push.batch, row));
        Seen seen = seen_by(s, row);
        uint split = PARTIAL != 0u ? gl_WorkGroupID.x : 0u, last_split = PARTIAL != 0u ? split : SPLITS - 1u;
        if (PARTIAL != 0u && !sees_split(seen, split))
            continue;
        uvec2 k = cache_keys(s.cache, push.layer), v = cache_values(s.cache, push.layer);
        uint width = push.kv_heads * HEAD_SIZE, kv = head / (push.heads / push.kv_heads) * HEAD_SIZE, at = (row * push.heads + head) * HEAD_SIZE;
        barrier();
        for (uint quad = thread; quad < QUADS; quad += THREADS)
            query[quad] = load_head(push.q, at, quad);

        precise vec4 total = vec4(0.0);
        precise float total_top = NONE, total_sum = 0.0;
        for (; split <= last_split; split++) {
            if (!sees_split(seen, split))
                continue;
            precise vec4 value = vec4(0.0);
            precise float top = NONE, sum = 0.0;
            for (uint chunk = first_chunk(seen.first / CHUNK, split); chunk * CHUNK < seen.end; chunk += SPLITS) {
                uint start = chunk * CHUNK;
                precise float score = 0.0;
                for (uint slice = 0u; slice < SLICES; slice += WIDE) {
                    barrier();
                    for (uint i = thread; i < CHUNK * WIDE * SLICE; i += THREADS) {
                        uint j = i / (WIDE * SLICE), quad = i % (WIDE * SLICE);
                        tile[j * KEY_PITCH + quad] = sees(seen, start + j) && slice * SLICE + quad < QUADS
                            ? load_head(k, (start + j) * width + kv, slice * SLICE + quad) : vec4(0.0);
                    }
                    barrier();
                    precise float part = 0.0;
                    uint first = (slice + wide) * SLICE;
                    for (uint i = 0u; i < SLICE && first + i < QUADS; i++)
                        part = dot_quad(query[first + i], tile[key * KEY_PITCH + wide * SLICE + i], part);
                    slices[thread] = part;
                    barrier();
                    for (uint w = 0u; w < WIDE && slice + w < SLICES; w++)
                        score = score + slices[w * CHUNK + key];
                }
                score = sees(seen, start + key) ? score_of(score, head, start + key) : NONE;
                if (wide == 0u)
                    scores[key] = score;
                barrier();
                precise float higher = top;
                for (uint j = 0u; j < CHUNK; j++)
                    higher = max(higher, scores[j]);
                precise float keep = decay(top - higher);
                top = higher;
                if (wide == 0u)
                    weights[key] = decay(score - top);
                barrier();
                for (uint item = thread; item < GROUPS * QUADS; item += THREADS) {
                    uint group = item / QUADS, quad = item % QUADS;
                    precise vec4 part = vec4(0.0);
                    precise float part_sum = 0.0;
                    for (uint j = group * GROUP; j < group * GROUP + GROUP; j++)
                        if (sees(seen, start + j)) {
                            part = fma(vec4(weights[j]), load_head(v, (start + j) * width + kv, quad), part);
                            part_sum = part_sum + weights[j];
                        }
                    tile[item] = part;
                    if (quad == 0u)
                        weight_sums[group] = part_sum;
                }
                barrier();
                sum = fma(sum, keep, weight_sums[0]);
                for (uint group = 1u; group < GROUPS; group++)
                    sum = sum + weight_sums[group];
                if (thread < QUADS) {
                    value = fma(value, vec4(keep), tile[thread]);
                    for (uint group = 1u; group < GROUPS; group++)
                        value = value + tile[group * QUADS + thread];
                }
            }
            if (PARTIAL != 0u) {
                uint place = ((row * push.heads + head) * SPLITS + split) * (QUADS + 1u);
                if (thread < QUADS)
                    store_f32x4(push.scratch, place + 1u + thread, value);
                if (thread == 0u)
                    store_f32x4(push.scratch, place, vec4(top, sum, 0.0, 0.0));
            } else {
                precise float higher = max(total_top, top);
                precise float keep = decay(total_top - higher), take = decay(top - higher);
                total_sum = fma(total_sum, keep, sum * take);
                total = fma(total, vec4(keep), value * take);
                total_top = higher;
            }
        }
        if (PARTIAL == 0u && thread < QUADS)
            store_head(push.y, at, thread, total / total_sum);
    }
}
