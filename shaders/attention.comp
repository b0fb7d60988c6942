// Attention of many rows: a workgroup is one head of a tile of ROWS rows of the batch, which share their sequence's keys and values. The same sums as attention_row's.
#version 460
#extension GL_GOOGLE_include_directive : require
#define ROWS 32u
#include "common/attention_tile.glsl"

layout(local_size_x = 128) in;

// By four rows and group of keys.
shared vec4 groups[FOURS * GROUPS];
shared vec4 tops[FOURS];
shared vec4 keeps[FOURS];
shared vec4 takes[FOURS];

// Positions that a row of the batch sees in this sequence; none, if it is no row of it.
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
        Heads queries = Heads(push.q, push.heads * HEAD_SIZE, head * HEAD_SIZE, 0u, base, end);
        precise vec4 totals[ITEMS][4], values[ITEMS][4];
        for (uint i = 0u; i < ITEMS; i++)
            totals[i] = vec4[4](vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0));
        // Of four rows, in the first FOURS threads.
        precise vec4 total_top = vec4(NONE), total_sum = vec4(0.0), top, sum;

        for (uint row = base; row < end;) {
            Sequence s = load_sequence(push.batch, row_sequence(push.batch, row));
            uint last = min(end, s.start + s.count) - 1u;
            // From the first that its first row sees to the last that its last row sees.
            Seen all = Seen(seen_by(s, row).first, seen_by(s, last).end);
            row = last + 1u;
            Heads keys = Heads(cache_keys(s.cache, push.layer), width, kv, 0u, all.first, all.end), rows_of_values = keys;
            rows_of_values.address = cache_values(s.cache, push.layer);
            for (uint split = 0u; split < SPLITS; split++) {
                if (!sees_split(all, split))
                    continue;
                for (uint i = 0u; i < ITEMS; i++)
                    values[i] = vec4[4](vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0));
                top = vec4(NONE);
                sum = vec4(0.0);
                for (uint chunk = first_chunk(all.first / CHUNK, split); chunk * CHUNK < all.end; chunk += SPLITS) {
                    uint start = chunk * CHUNK;
                    precise float score[OWN * 4u];
                    multiply(queries, base, keys, start, score);
                    for (uint r = 0u; r < OWN * 4u; r++)
                        score[r] = sees(seen_in(s, base + own * 4u + r), start + key) ? score_of(score[r], head, start + key) : NONE;
                    share(score);
                    barrier();
                    if (thread < FOURS * GROUPS)
                        groups[thread] = group_max();
                    barrier();
                    if (thread < FOURS) {
                        precise vec4 higher = top;
                        for (uint group = 0u; group < GROUPS; group++)
                            higher = max(higher, groups[thread * GROUPS + group]);
                        precise vec4 keep = decay(top - higher);
                        top = higher;
                        tops[thread] = top;
                        keeps[thread] = keep;
                    }
                    barrier();
                    for (uint r = 0u; r < OWN * 4u; r++)
                        score[r] = decay(score[r] - tops[own + r / 4u][r % 4u]);
                    share(score);
                    barrier();
                    if (thread < FOURS * GROUPS)
                        groups[thread] = group_sum();
                    for (uint n = 0u; n < ITEMS; n++) {
                        uint item = thread + n * THREADS, quad = item % QUADS, four = item / QUADS;
                        if (four >= FOURS)
                            continue;
                        uint rows = base + 4u * four;
                        Seen seen[4] = Seen[4](seen_in(s, rows), seen_in(s, rows + 1u), seen_in(s, rows + 2u), seen_in(s, rows + 3u));
                        bool some[4];
                        bool whole = true;
                        for (uint r = 0u; r < 4u; r++) {
                            some[r] = sees_chunk(seen[r], chunk);
                            whole = whole && seen[r].first <= start && seen[r].end >= start + CHUNK;
                        }
                        vec4 keep = keeps[four];
                        for (uint group = 0u; group < GROUPS; group++) {
                            precise vec4 parts[4] = vec4[4](vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0));
                            if (whole)
                                for (uint i = 0u; i < GROUP; i++) {
                                    uint j = group * GROUP + i;
                                    vec4 value = load_head(rows_of_values.address, (start + j) * width + kv, quad), w = weights[j * FOURS + four];
                                    for (uint r = 0u; r < 4u; r++)
                                        parts[r] = fma(vec4(w[r]), value, parts[r]);
                                }
                            else
                                // A weight of 0 would not hide a value that is no number.
                                for (uint j = group * GROUP; j < group * GROUP + GROUP; j++) {
                                    vec4 value = load_row(rows_of_values, start + j, quad), w = weights[j * FOURS + four];
                                    for (uint r = 0u; r < 4u; r++)
                                        if (sees(seen[r], start + j))
                                            parts[r] = fma(vec4(w[r]), value, parts[r]);
                                }
                            for (uint r = 0u; r < 4u; r++)
                                if (some[r])
                                    values[n][r] = group == 0u ? fma(values[n][r], vec4(keep[r]), parts[r]) : values[n][r] + parts[r];
                        }
                    }
                    barrier();
                    if (thread < FOURS)
                        for (uint r = 0u; r < 4u; r++)
                            if (sees_chunk(seen_in(s, base + 4u * thread + r), chunk)) {
                                sum[r] = fma(sum[r], keeps[thread][r], groups[thread * GROUPS][r]);
                                for (uint group = 1u; group < GROUPS; group++)
                                    sum[r] = sum[r] + groups[thread * GROUPS + group][r];
                            }
                }
                if (thread < FOURS) {
                    precise vec4 higher = max(total_top, top);
                    precise vec4 keep = decay(total_top - higher), take = decay(top - higher);
                    for (uint r = 0u; r < 4u; r++)
                        if (sees_split(seen_in(s, base + 4u * thread + r), split)) {
                            total_sum[r] = fma(total_sum[r], keep[r], sum[r] * take[r]);
                            total_top[r] = higher[r];
                        }
                    keeps[thread] = keep;
                    takes[thread] = take;
                }
                barrier();
                for (uint n = 0u; n < ITEMS; n++) {
                    uint four = (thread + n * THREADS) / QUADS;
                    if (four >= FOURS)
                        continue;
                    for (uint r = 0u; r < 4u; r++)
                        if (sees_split(seen_in(s, base + 4u * four + r), split))
                            totals[n][r] = fma(totals[n][r], vec4(keeps[four][r]), values[n][r] * takes[four][r]);
                }
            }
        }
        if (thread < FOURS)
            tops[thread] = total_sum;
        barrier();
        for (uint n = 0u; n < ITEMS; n++) {
            uint item = thread + n * THREADS, quad = item % QUADS, four = item / QUADS;
            for (uint r = 0u; r < 4u; r++)
                if (four < FOURS && base + 4u * four + r < end)
                    store_head(push.y, ((base + 4u * four + r) * push.heads + head) * HEAD_SIZE, quad, totals[n][r] / tops[four][r]);
        }
        barrier();
    }
}
