using System.Globalization;
using System.Text;

namespace Fla.TorchGenerator;

/// <summary>fla's spelling of .NET names.</summary>
internal static class Names
{
    private static readonly (string Split, string Joined)[] Words = [("l2_norm_in", "l2norm_in"), ("swi_glu", "swiglu"), ("pow_glu", "powglu"), ("sigmoid_glu", "sigmoidglu")];

    /// <summary>ChunkGla to chunk_gla, cuSeqlens to cu_seqlens.</summary>
    public static string Snake(string name)
    {
        var text = new StringBuilder();
        for (var i = 0; i < name.Length; i++)
        {
            if (i > 0 && char.IsUpper(name[i]) && (!char.IsUpper(name[i - 1]) || (i + 1 < name.Length && char.IsLower(name[i + 1])))) text.Append('_');
            text.Append(char.ToLowerInvariant(name[i]));
        }
        foreach (var (split, joined) in Words) text.Replace(split, joined);
        return text.ToString();
    }

    /// <summary>A name that may be a keyword.</summary>
    public static string Escape(string name) => name is "base" or "params" or "in" or "out" or "ref" or "is" or "as" ? "@" + name : name;

    /// <summary>A constant as C# writes it.</summary>
    public static string Literal(object? value, Type type) => value switch
    {
        null => "null",
        bool b => b ? "true" : "false",
        string s => $"\"{s}\"",
        float f => f.ToString("R", CultureInfo.InvariantCulture) + "f",
        double d => d.ToString("R", CultureInfo.InvariantCulture) + "d",
        _ when (Nullable.GetUnderlyingType(type) ?? type).IsEnum => $"global::{(Nullable.GetUnderlyingType(type) ?? type).FullName}.{Enum.GetName(Nullable.GetUnderlyingType(type) ?? type, value)}",
        _ => Convert.ToString(value, CultureInfo.InvariantCulture)!,
    };

    /// <summary>A type that passes through unchanged, as C# writes it; null for one that cannot.</summary>
    public static string? Plain(Type type, bool isNullable)
    {
        var inner = Nullable.GetUnderlyingType(type) ?? type;
        string? name = inner == typeof(int) ? "int" : inner == typeof(long) ? "long" : inner == typeof(float) ? "float" : inner == typeof(double) ? "double"
            : inner == typeof(bool) ? "bool" : inner == typeof(string) ? "string"
            : inner.IsEnum || (inner.IsClass && inner.Namespace == "Fla.Vulkan.Ops" && inner != typeof(Vulkan.Ops.CuSeqlens)) ? "global::" + inner.FullName!.Replace('+', '.') : null;
        return name is null ? null : isNullable || inner != type ? name + "?" : name;
    }
}
