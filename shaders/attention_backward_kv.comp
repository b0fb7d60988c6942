// Backward of attention, second part: a workgroup is one key/value head of a tile of rows, which goes through the rows that see it, head by head of its group, in order.
#version 460
#extension GL_GOOGLE_include_directive : require
#define ROWS 16u
#include "common/attention_tile.glsl"

layout(local_size_x = 128) in;

void main()
{
    uint thread = gl_LocalInvocationIndex, other = thread % CHUNK, own = thread / CHUNK * OWN, kv_head = gl_WorkGroupID.x;
    uint width = push.kv_heads * HEAD_SIZE, group = push.heads / push.kv_heads;
    for (uint base = gl_WorkGroupID.y * ROWS; base < push.rows; base += gl_NumWorkGroups.y * ROWS) {
        uint end = min(base + ROWS, push.rows);
        precise vec4 dk[ITEMS][4], dv[ITEMS][4];
        for (uint i = 0u; i < ITEMS; i++)
            dk[i] = dv[i] = vec4[4](vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0));
        for (uint row = base; row < end;) {
            Sequence s = load_sequence(push.batch, row_sequence(push.batch, row));
            uint first = row, last = min(end, s.start + s.count) - 1u;
            row = last + 1u;
            // Row n of the batch is position n - start: there is no past. Rows from `from` to `until` of the sequence see some key of the tile.
            Heads keys = Heads(cache_keys(s.cache, push.layer), width, kv_head * HEAD_SIZE, s.start, first, row), values = keys;
            values.address = cache_values(s.cache, push.layer);
            uint from = push.causal != 0u ? first - s.start : 0u, until = push.causal != 0u && push.window > 0u ? min(s.count, last - s.start + push.window) : s.count;
            for (uint head = kv_head * group; head < kv_head * group + group; head++) {
                Heads queries = Heads(push.q, push.heads * HEAD_SIZE, head * HEAD_SIZE, 0u, s.start, s.start + s.count), slopes = queries;
                slopes.address = push.dy;
                for (uint chunk = from / CHUNK; chunk * CHUNK < until; chunk++) {
                    uint start = s.start + chunk * CHUNK, n = start + other;
                    precise float score[OWN * 4u], slope[OWN * 4u];
                    multiply(keys, base, queries, start, score);
                    multiply(values, base, slopes, start, slope);
                    bool inside = n < s.start + s.count;
                    Seen seen = inside ? seen_by(s, n) : Seen(0u, 0u);
                    vec4 state = inside ? load_f32x4(push.scratch, n * push.heads + head) : vec4(0.0);
                    for (uint r = 0u; r < OWN * 4u; r++) {
                        uint key = base + own * 4u + r;
                        bool visible = key >= first && key <= last && sees(seen, key - s.start);
                        precise float value = score_of(score[r], head, key - s.start), p = visible ? decay(value - state.x) * state.y : 0.0;
                        score[r] = p;
                        slope[r] = visible ? p * (slope[r] - state.z) * score_slope(value) : 0.0;
                    }
                    share(score);
                    barrier();
                    for (uint i = 0u; i < ITEMS; i++)
                    add_weighted(slopes, start, thread + i * THREADS, dv[i]);
                    barrier();
                    share(slope);
                    barrier();
                    for (uint i = 0u; i < ITEMS; i++)
                    add_weighted(queries, start, thread + i * THREADS, dk[i]);
                }
            }
        }
        for (uint n = 0u; n < ITEMS; n++) {
            uint item = thread + n * THREADS, quad = item % QUADS, four = item / QUADS;
            for (uint r = 0u; r < 4u; r++)
                if (four < FOURS && base + 4u * four + r < end) {
                    uint at = (base + 4u * four + r) * width + kv_head * HEAD_SIZE;
                    store_head(push.dk, at, quad, load_head(push.dk, at, quad) + dk[n][r]);
                    store_head(push.dv, at, quad, load_head(push.dv, at, quad) + dv[n][r]);
                }
        }
    }
}
