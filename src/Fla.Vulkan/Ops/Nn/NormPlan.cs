using System.Numerics;

namespace Fla.Vulkan.Ops;

/// <summary>
/// How norms spread rows over invocations (shaders/norm/rows.glsl): so that each has several loads of 16 bytes in flight, and rows stay within a subgroup, which
/// needs no barriers, as long as they are short.
/// </summary>
/// <param name="Workgroup">Invocations of a workgroup.</param>
/// <param name="Lanes">Invocations of a row.</param>
/// <param name="Chunks">Groups of eight elements of a row that an invocation holds.</param>
/// <param name="Rows">Rows that it holds at once.</param>
internal readonly record struct NormPlan(int Workgroup, int Lanes, int Chunks, int Rows)
{
    private const int Oct = 8;
    private const int InFlight = 4;

    /// <summary>Rows that a workgroup has at once.</summary>
    public int SlotsPerWorkgroup => Workgroup / Lanes;

    /// <summary>For rows of a width.</summary>
    public static NormPlan Of(ComputeDevice device, int width)
    {
        var workgroup = (int)RowLayout.RowWorkgroup(device);
        var octs = (width + Oct - 1) / Oct;
        // On CPU drivers loads need no company, and long code takes long to compile.
        var inFlight = device.IsCpu ? 1 : InFlight;
        var subgroup = Math.Min(workgroup, device.SubgroupSize);
        var lanes = Math.Clamp(PowerOfTwo((octs + inFlight - 1) / inFlight), Math.Min(subgroup, PowerOfTwo(octs)), device.IsCpu ? subgroup : workgroup);
        var chunks = Math.Min(inFlight, (octs + lanes - 1) / lanes);
        return new(workgroup, lanes, chunks, lanes <= subgroup ? inFlight / chunks : 1);
    }

    /// <summary>Whether rows do not fit into their invocations at once.</summary>
    public bool IsLong(int width) => width > Lanes * Chunks * Oct;

    /// <summary>Whether rows are just what their invocations hold.</summary>
    public bool IsFull(int width) => width == Lanes * Chunks * Oct;

    /// <summary>Slots that share the rows of a backward pass, a multiple of the groups and no more than there are rows: enough to fill the device, but each with enough
    /// rows to pay for its sums.</summary>
    public int Slots(ComputeDevice device, long rows, int groups, int least)
    {
        var fill = RowLayout.Fill(device) * SlotsPerWorkgroup;
        return (int)Math.Clamp(rows / groups / least, 1, Math.Max(1, fill / groups)) * groups;
    }

    /// <summary>Specialization constants.</summary>
    public uint[] Spec(uint flags, uint types) => [(uint)Workgroup, flags, types, (uint)Lanes, (uint)Chunks, (uint)Rows];

    private static int PowerOfTwo(int n) => (int)BitOperations.RoundUpToPowerOf2((uint)n);
}
