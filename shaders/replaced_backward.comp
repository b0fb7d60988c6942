// Splits dy on a path with replaced rows: `kept` [rows, columns] has zero at the replaced outputs, `taken` [rows, n] has dy there.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/batch.glsl"
#include "common/replaced.glsl"

layout(local_size_x = 256) in;

layout(push_constant, std430) uniform Push { uvec2 dy; uvec2 kept; uvec2 taken; uvec2 batch; uint rows; uint columns; uint batch_first; uint dy_first; uint dy_stride; uint kept_stride; uint taken_stride; uint site; } push;

void main()
{
    for (uint t = gl_WorkGroupID.y; t < push.rows; t += gl_NumWorkGroups.y) {
        uvec2 site = site_of(row_path(push.batch, push.batch_first + t), push.site);
        for (uint o = gl_GlobalInvocationID.x; o < push.columns; o += 256u * gl_NumWorkGroups.x) {
            float value = load_f32(push.dy, (push.dy_first + t) * push.dy_stride + o);
            uint at = find_replaced(site, o);
            if (at != NOT_REPLACED)
                store_f32(push.taken, t * push.taken_stride + at, value);
            store_f32(push.kept, t * push.kept_stride + o, at != NOT_REPLACED ? 0.0 : value);
        }
    }
}
