namespace Fla.Vulkan;

/// <summary>How a kernel is cut: sizes that change its speed, and not what it computes but for the order of sums. What a kernel does not have is 0.</summary>
/// <param name="Workgroup">Invocations of a workgroup.</param>
/// <param name="Slice">Length of the pieces in which a reduction passes through shared memory.</param>
/// <param name="Rows">Rows of a workgroup's tile.</param>
/// <param name="Columns">Its columns.</param>
public readonly record struct TileChoice(int Workgroup, int Slice = 0, int Rows = 0, int Columns = 0)
{
    /// <inheritdoc/>
    public override string ToString() => $"workgroup {Workgroup}{Part("slice", Slice)}{Part("rows", Rows)}{Part("columns", Columns)}";

    private static string Part(string name, int size) => size == 0 ? "" : $", {name} {size}";
}
