// U[t, offset + r] = A[r, token t] for every step of every row's path at a table's site.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/batch.glsl"
#include "common/path.glsl"
#include "common/weights.glsl"

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Push { uvec2 u; uvec2 batch; uint rows; uint u_stride; uint site; uint vocabulary; } push;

void main()
{
    for (uint t = gl_WorkGroupID.x; t < push.rows; t += gl_NumWorkGroups.x) {
        uvec2 site = site_of(row_path(push.batch, t), push.site);
        uint token = row_token(push.batch, t), count = site_step_count(site);
        for (uint k = 0u; k < count; k++) {
            Step s = load_step(site, k);
            for (uint r = gl_LocalInvocationIndex; r < s.rank; r += 64u)
                store_f32(push.u, t * push.u_stride + s.offset + r, load_vector(s.a, s.a_type, r * push.vocabulary + token));
        }
    }
}
