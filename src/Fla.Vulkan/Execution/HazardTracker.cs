namespace Fla.Vulkan;

/// <summary>Address ranges touched since the last barrier, and whether the next command needs one.</summary>
internal sealed class HazardTracker
{
    private readonly List<(ulong Start, ulong End)> _read = [];
    private readonly List<(ulong Start, ulong End)> _written = [];
    private readonly List<(ulong Start, ulong End, Access Access)> _next = [];

    /// <summary>Says what the command to come does with a range.</summary>
    public void Touch(ulong start, ulong size, Access access) => _next.Add((start, start + size, access));

    /// <summary>True when the command must wait for earlier ones; its ranges are then the first after the barrier.</summary>
    public bool Resolve()
    {
        var isHazard = false;
        foreach (var (start, end, access) in _next)
        {
            isHazard |= Overlaps(_written, start, end) || ((access & Access.Write) != 0 && Overlaps(_read, start, end));
        }
        if (isHazard)
        {
            _read.Clear();
            _written.Clear();
        }
        foreach (var (start, end, access) in _next)
        {
            if ((access & Access.Write) != 0) _written.Add((start, end));
            if ((access & Access.Read) != 0) _read.Add((start, end));
        }
        _next.Clear();
        return isHazard;
    }

    public void Clear()
    {
        _read.Clear();
        _written.Clear();
    }

    private static bool Overlaps(List<(ulong Start, ulong End)> ranges, ulong start, ulong end)
    {
        foreach (var (s, e) in ranges)
        {
            if (start < e && s < end) return true;
        }
        return false;
    }
}
