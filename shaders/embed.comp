// y[t] = the token's row of the table, of the path's own table, or of the rows that the path replaces; with FINISH then the path's steps.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/batch.glsl"
#include "common/replaced.glsl"
#include "common/steps.glsl"
#include "common/weights.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint WEIGHT_TYPE = 0;

layout(push_constant, std430) uniform Push {
    uvec2 table; uvec2 y; uvec2 batch; uvec2 u;
    uint scales; uint first; uint rows; uint columns; uint y_first; uint y_stride; uint u_stride; uint site; uint finish;
} push;

void main()
{
    for (uint t = gl_WorkGroupID.y; t < push.rows; t += gl_NumWorkGroups.y) {
        uint row = push.first + t, token = row_token(push.batch, row);
        uvec2 site = site_of(row_path(push.batch, row), push.site), own = site_weight(site);
        uint at = find_replaced(site, token);
        for (uint d = gl_GlobalInvocationID.x; d < push.columns; d += 256u * gl_NumWorkGroups.x) {
            float y;
            if (at != NOT_REPLACED)
                y = load_weight(site_replaced_values(site), site_replaced_type(site), site_replaced_scales(site), at * push.columns + d);
            else if (!is_null(own))
                y = load_weight(own, site_weight_type(site), site_weight_scales(site), token * push.columns + d);
            else
                y = load_weight(push.table, WEIGHT_TYPE, push.scales, token * push.columns + d);
            if (push.finish != 0u)
                y = apply_steps(site, y, push.u, row * push.u_stride, d, ALL_STEPS);
            store_f32(push.y, (push.y_first + t) * push.y_stride + d, y);
        }
    }
}
