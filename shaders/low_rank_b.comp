// The end of a linear layer by itself: y = the path's steps on the product, then the bias. Where `replaced` is given, it has the product of the outputs
// whose weights the rows' path replaces. With `limit` < 0xFFFFFFFF only that many steps, without the last one's gain and without bias.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/batch.glsl"
#include "common/replaced.glsl"
#include "common/steps.glsl"

layout(local_size_x = 256) in;

// Row t of the call is row batch_first + t of the batch; `product`, y and U count their rows each from its own first.
layout(push_constant, std430) uniform Push {
    uvec2 product; uvec2 y; uvec2 batch; uvec2 u; uvec2 bias; uvec2 replaced;
    uint rows; uint columns; uint batch_first; uint product_first; uint product_stride; uint y_first; uint y_stride; uint u_first; uint u_stride;
    uint site; uint bias_type; uint limit; uint replaced_stride;
} push;

void main()
{
    for (uint t = gl_WorkGroupID.y; t < push.rows; t += gl_NumWorkGroups.y) {
        uvec2 site = site_of(row_path(push.batch, push.batch_first + t), push.site);
        for (uint o = gl_GlobalInvocationID.x; o < push.columns; o += 256u * gl_NumWorkGroups.x) {
            float product = load_f32(push.product, (push.product_first + t) * push.product_stride + o);
            if (!is_null(push.replaced)) {
                uint at = find_replaced(site, o);
                if (at != NOT_REPLACED)
                    product = load_f32(push.replaced, t * push.replaced_stride + at);
            }
            float y = apply_steps(site, product, push.u, (push.u_first + t) * push.u_stride, o, push.limit);
            if (push.limit == ALL_STEPS)
                y = add_bias(site, y, push.bias, push.bias_type, o);
            store_f32(push.y, (push.y_first + t) * push.y_stride + o, y);
        }
    }
}
