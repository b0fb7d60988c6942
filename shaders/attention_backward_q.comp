// Backward of attention, first part: a workgroup is one head of a tile of rows. First its rows' statistics (greatest score, 1 / sum, mean of dp), then dq.
#version 460
#extension GL_GOOGLE_include_directive : require
#define ROWS 16u
#include "common/attention_tile.glsl"

layout(local_size_x = 128) in;

shared vec4 groups[FOURS * GROUPS];
shared vec4 tops[FOURS];
shared vec4 inverses[FOURS];
shared vec4 means[FOURS];

Seen seen_in(Sequence s, uint row)
{
    if (row >= push.rows || row < s.start || row >= s.start + s.count)
        return Seen(0u, 0u);
    return seen_by(s, row);
}

void main()
{
    uint thread = gl_LocalInvocationIndex, key = thread % CHUNK, own = thread / CHUNK * OWN, head = gl_WorkGroupID.x;
    uint width = push.kv_heads * HEAD_SIZE, kv = head / (push.heads / push.kv_heads) * HEAD_SIZE;
    for (uint base = gl_WorkGroupID.y * ROWS; base < push.rows; base += gl_NumWorkGroups.y * ROWS) {
        uint end = min(base + ROWS, push.rows);
        precise vec4 sums[ITEMS][4];
        for (uint i = 0u; i < ITEMS; i++)
            sums[i] = vec4[4](vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0));
        for (uint row = base; row < end;) {
            Sequence s = load_sequence(push.batch, row_sequence(push.batch, row));
            uint first = row, last = min(end, s.start + s.count) - 1u;
            Seen all = Seen(seen_by(s, row).first, seen_by(s, last).end);
            row = last + 1u;
            Heads queries = Heads(push.q, push.heads * HEAD_SIZE, head * HEAD_SIZE, 0u, first, row), slopes = queries;
            slopes.address = push.dy;
            Heads keys = Heads(cache_keys(s.cache, push.layer), width, kv, 0u, all.first, all.end), values = keys;
            values.address = cache_values(s.cache, push.layer);

            // Of four rows, in the first FOURS threads.
            precise vec4 top = vec4(NONE), sum = vec4(0.0), mean = vec4(0.0);
            precise float score[OWN * 4u], slope[OWN * 4u];
            for (uint chunk = all.first / CHUNK; chunk * CHUNK < all.end; chunk++) {
                multiply(queries, base, keys, chunk * CHUNK, score);
                multiply(slopes, base, values, chunk * CHUNK, slope);
                for (uint r = 0u; r < OWN * 4u; r++)
                    score[r] = sees(seen_in(s, base + own * 4u + r), chunk * CHUNK + key) ? score_of(score[r], head, chunk * CHUNK + key) : NONE;
                share(score);
                barrier();
                if (thread < FOURS * GROUPS)
                    groups[thread] = group_max();
                barrier();
                precise vec4 keep = vec4(1.0);
                if (thread < FOURS) {
                    precise vec4 higher = top;
                    for (uint group = 0u; group < GROUPS; group++)
                        higher = max(higher, groups[thread * GROUPS + group]);
                    keep = decay(top - higher);
                    top = higher;
                    tops[thread] = top;
                }
                barrier();
                for (uint r = 0u; r < OWN * 4u; r++)
                    score[r] = decay(score[r] - tops[own + r / 4u][r % 4u]);
                share(score);
                barrier();
                if (thread < FOURS * GROUPS)
                    groups[thread] = group_sum();
                barrier();
                for (uint r = 0u; r < OWN * 4u; r++)
                    score[r] = sees(seen_in(s, base + own * 4u + r), chunk * CHUNK + key) ? score[r] * slope[r] : 0.0;
                share(score);
                if (thread < FOURS)
                    for (uint r = 0u; r < 4u; r++)
                        if (sees_chunk(seen_in(s, base + 4u * thread + r), chunk)) {
                            sum[r] = sum[r] * keep[r];
                            for (uint group = 0u; group < GROUPS; group++)
                                sum[r] = sum[r] + groups[thread * GROUPS + group][r];
                        }
                barrier();
                if (thread < FOURS * GROUPS)
                    groups[thread] = group_sum();
                barrier();
                if (thread < FOURS)
                    for (uint r = 0u; r < 4u; r++)
                        if (sees_chunk(seen_in(s, base + 4u * thread + r), chunk)) {
                            mean[r] = mean[r] * keep[r];
                            for (uint group = 0u; group < GROUPS; group++)
                                mean[r] = mean[r] + groups[thread * GROUPS + group][r];
                        }
            }
            if (thread < FOURS) {
                tops[thread] = top;
                inverses[thread] = 1.0 / sum;
                means[thread] = mean / sum;
                for (uint r = 0u; r < 4u; r++) {
                    uint n = base + 4u * thread + r;
                    if (n >= first && n <= last)
                        store_f32x4(push.scratch, n * push.heads + head, vec4(top[r], inverses[thread][r], means[thread][r], 0.0));
                }
            }
            barrier();

            for (uint chunk = all.first / CHUNK; chunk * CHUNK < all.end; chunk++) {
                multiply(queries, base, keys, chunk * CHUNK, score);
                multiply(slopes, base, values, chunk * CHUNK, slope);
                for (uint r = 0u; r < OWN * 4u; r++) {
                    uint four = own + r / 4u, part = r % 4u;
                    precise float value = score_of(score[r], head, chunk * CHUNK + key), p = decay(value - tops[four][part]) * inverses[four][part];
                    score[r] = sees(seen_in(s, base + own * 4u + r), chunk * CHUNK + key) ? p * (slope[r] - means[four][part]) * score_slope(value) : 0.0;
                }
                share(score);
                barrier();
                for (uint i = 0u; i < ITEMS; i++)
                    add_weighted(keys, chunk * CHUNK, thread + i * THREADS, sums[i]);
            }
            barrier();
        }
        for (uint n = 0u; n < ITEMS; n++) {
            uint item = thread + n * THREADS, quad = item % QUADS, four = item / QUADS;
            for (uint r = 0u; r < 4u; r++)
                if (four < FOURS && base + 4u * four + r < end) {
                    uint at = ((base + 4u * four + r) * push.heads + head) * HEAD_SIZE;
                    store_head(push.y, at, quad, load_head(push.y, at, quad) + sums[n][r]);
                }
        }
    }
}
