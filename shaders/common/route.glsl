// Softmax over a row of router logits, and its best k: by falling value, a NaN before every number, equals by ascending column.
#ifndef EDGELORA_ROUTE
#define EDGELORA_ROUTE
#include "common/memory.glsl"
#include "common/math.glsl"

struct Routing {
    float largest;
    // One over the sum of all exponentials, or of the chosen ones'.
    float scale;
    // The last of the chosen.
    float value;
    uint column;
};

bool is_nan(float x) { return (floatBitsToUint(x) & 0x7FFFFFFFu) > 0x7F800000u; }

bool is_behind(float value, uint column, float last, uint last_column)
{
    bool nan = is_nan(value), last_nan = is_nan(last);
    if (nan || last_nan)
        return last_nan && (!nan || column > last_column);
    return value < last || (value == last && column > last_column);
}

// exp_f32 ends at e^-87.3.
float exp_or_zero(float x) { return x < -87.0 ? 0.0 : exp_f32(x); }

Routing route_row(uvec2 logits, uint start, uint columns, uint k, bool renormalise)
{
    Routing r = Routing(0.0, 0.0, 0.0, 0u);
    precise float sum = 0.0;
    for (uint j = 0u; j < k; j++) {
        bool found = false;
        float best = 0.0;
        uint at = 0u;
        for (uint e = 0u; e < columns; e++) {
            float z = load_f32(logits, start + e);
            if ((j == 0u || is_behind(z, e, r.value, r.column)) && (!found || is_behind(best, at, z, e))) {
                found = true;
                best = z;
                at = e;
            }
        }
        r.value = best;
        r.column = at;
        if (j == 0u)
            r.largest = best;
        sum += exp_or_zero(best - r.largest);
    }
    if (!renormalise) {
        sum = 0.0;
        for (uint e = 0u; e < columns; e++)
            sum += exp_or_zero(load_f32(logits, start + e) - r.largest);
    }
    r.scale = 1.0 / sum;
    return r;
}

#endif
