namespace Fla.Vulkan;

/// <summary>Element type of a <see cref="Tensor"/>. Arithmetic is in fp32 whatever the storage.</summary>
public enum DType
{
    /// <summary>IEEE binary32.</summary>
    Float32,

    /// <summary>IEEE binary16.</summary>
    Float16,

    /// <summary>The upper half of binary32.</summary>
    BFloat16,

    /// <summary>32-bit signed integer.</summary>
    Int32,

    /// <summary>64-bit signed integer.</summary>
    Int64,
}

/// <summary>Facts about a <see cref="DType"/>.</summary>
public static class DTypes
{
    /// <summary>Bytes of one element.</summary>
    public static int Size(this DType type) => type switch
    {
        DType.Float32 or DType.Int32 => 4,
        DType.Float16 or DType.BFloat16 => 2,
        DType.Int64 => 8,
        _ => throw new ArgumentOutOfRangeException(nameof(type)),
    };

    /// <summary>True for f32, f16 and bf16.</summary>
    public static bool IsFloat(this DType type) => type is DType.Float32 or DType.Float16 or DType.BFloat16;

    /// <summary>The name used by shaders and messages: f32, f16, bf16, i32, i64.</summary>
    public static string ShortName(this DType type) => type switch
    {
        DType.Float32 => "f32",
        DType.Float16 => "f16",
        DType.BFloat16 => "bf16",
        DType.Int32 => "i32",
        DType.Int64 => "i64",
        _ => throw new ArgumentOutOfRangeException(nameof(type)),
    };

    /// <summary>The shader variant of a float storage type, such as "T=f16".</summary>
    /// <exception cref="DTypeException">The type is not a float type.</exception>
    public static string Variant(this DType type) =>
        type.IsFloat() ? "T=" + type.ShortName() : throw new DTypeException($"a float tensor is needed, this one is {type.ShortName()}");

    /// <summary>Reads "f32", "float32", "bf16", "bfloat16", "f16", "float16", "half" and the integer names.</summary>
    /// <exception cref="DTypeException">The name is none of them.</exception>
    public static DType Parse(string name) => name.ToLowerInvariant() switch
    {
        "f32" or "float32" or "fp32" or "float" => DType.Float32,
        "f16" or "float16" or "fp16" or "half" => DType.Float16,
        "bf16" or "bfloat16" => DType.BFloat16,
        "i32" or "int32" => DType.Int32,
        "i64" or "int64" => DType.Int64,
        _ => throw new DTypeException($"unknown dtype '{name}': f32, f16, bf16, i32 or i64"),
    };
}
