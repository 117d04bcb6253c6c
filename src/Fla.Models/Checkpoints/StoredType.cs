namespace Fla.Models.Checkpoints;

/// <summary>Element type of a tensor in a safetensors file, in the order in which the format's own writer sorts them.</summary>
public enum StoredType
{
    /// <summary>One byte, 0 or 1 (<c>BOOL</c>).</summary>
    Bool,

    /// <summary>Unsigned byte (<c>U8</c>).</summary>
    UInt8,

    /// <summary>Signed byte (<c>I8</c>).</summary>
    Int8,

    /// <summary>16-bit signed integer (<c>I16</c>).</summary>
    Int16,

    /// <summary>IEEE half precision (<c>F16</c>).</summary>
    Float16,

    /// <summary>The upper half of an IEEE single (<c>BF16</c>).</summary>
    BFloat16,

    /// <summary>32-bit signed integer (<c>I32</c>).</summary>
    Int32,

    /// <summary>IEEE single precision (<c>F32</c>).</summary>
    Float32,

    /// <summary>IEEE double precision (<c>F64</c>).</summary>
    Float64,

    /// <summary>64-bit signed integer (<c>I64</c>).</summary>
    Int64,
}

/// <summary>Names and sizes of <see cref="StoredType"/>.</summary>
public static class StoredTypes
{
    private static readonly (string Tag, int Size)[] Table =
    [
        ("BOOL", 1), ("U8", 1), ("I8", 1), ("I16", 2), ("F16", 2), ("BF16", 2), ("I32", 4), ("F32", 4), ("F64", 8), ("I64", 8),
    ];

    /// <summary>Bytes of one element.</summary>
    public static int SizeInBytes(this StoredType type) => Table[(int)type].Size;

    /// <summary>The name that a safetensors header uses, such as <c>BF16</c>.</summary>
    public static string Tag(this StoredType type) => Table[(int)type].Tag;

    /// <summary>Whether the type is a floating-point one.</summary>
    public static bool IsFloatingPoint(this StoredType type)
        => type is StoredType.Float16 or StoredType.BFloat16 or StoredType.Float32 or StoredType.Float64;

    /// <summary>Finds the type of a header's name; false for a name that this library does not read.</summary>
    public static bool TryParse(string tag, out StoredType type)
    {
        var index = Array.FindIndex(Table, entry => entry.Tag == tag);
        type = (StoredType)Math.Max(index, 0);
        return index >= 0;
    }
}
