// Reductions over segments of `lanes` consecutive invocations of a workgroup of at most 256; lanes is a power of two. All invocations of the workgroup
// call them together. The order of additions is fixed by the subgroup size, so results repeat.
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require

shared float laneScratch[256];

// The invocation's number in the order of subgroups.
uint laneSlot() { return gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID; }

float laneSum(float x, uint lanes) {
    if (lanes <= gl_SubgroupSize) {
        for (uint o = lanes / 2; o > 0; o /= 2) x += subgroupShuffleXor(x, o);
        return x;
    }
    x = subgroupAdd(x);
    barrier();
    if (gl_SubgroupInvocationID == 0) laneScratch[gl_SubgroupID] = x;
    barrier();
    uint n = lanes / gl_SubgroupSize;
    uint first = gl_SubgroupID / n * n;
    float sum = 0;
    for (uint i = 0; i < n; ++i) sum += laneScratch[first + i];
    return sum;
}

float laneMax(float x, uint lanes) {
    if (lanes <= gl_SubgroupSize) {
        for (uint o = lanes / 2; o > 0; o /= 2) x = max(x, subgroupShuffleXor(x, o));
        return x;
    }
    x = subgroupMax(x);
    barrier();
    if (gl_SubgroupInvocationID == 0) laneScratch[gl_SubgroupID] = x;
    barrier();
    uint n = lanes / gl_SubgroupSize;
    uint first = gl_SubgroupID / n * n;
    float most = laneScratch[first];
    for (uint i = 1; i < n; ++i) most = max(most, laneScratch[first + i]);
    return most;
}
