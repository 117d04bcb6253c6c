using System.Collections.Concurrent;
using System.IO.Compression;

namespace Fla.Vulkan;

/// <summary>The SPIR-V of every shader variant, embedded when the library was built.</summary>
public static class ShaderLibrary
{
    private static readonly Lazy<ConcurrentDictionary<string, byte[]>> Modules = new(Load);
    private static readonly ConcurrentDictionary<string, Spirv> Parsed = new();

    // Asked at every launch over the tile product, so found once.
    private static readonly Lazy<bool> HasMatrixVariants = new(() => Keys.Any(k => k.Contains("MM=coopmat", StringComparison.Ordinal)));

    /// <summary>False when the build's glslc knew no cooperative matrices, so that only plain variants exist.</summary>
    public static bool HasCooperativeMatrix => HasMatrixVariants.Value;

    /// <summary>Keys of all variants, such as "norm/rms_norm[T=f16]".</summary>
    public static IReadOnlyCollection<string> Keys => (IReadOnlyCollection<string>)Modules.Value.Keys;

    /// <summary>Adds a variant that this build has not, such as a test's.</summary>
    internal static void Add(string key, byte[] code) => Modules.Value[key] = code;

    /// <exception cref="ShaderException">The build has no such variant.</exception>
    internal static byte[] Code(string key) => Modules.Value.TryGetValue(key, out var code)
        ? code : throw new ShaderException($"this build has no shader {key}: its glslc may have lacked an extension (see the warning FLA001 of the build)");

    internal static Spirv Reflect(string key) => Parsed.GetOrAdd(key, k => new(Code(k), k));

    private static ConcurrentDictionary<string, byte[]> Load()
    {
        using var stream = typeof(ShaderLibrary).Assembly.GetManifestResourceStream("shaders.spvpack")
            ?? throw new ShaderException("the library was built without shaders");
        using var archive = new ZipArchive(stream, ZipArchiveMode.Read);
        return new(archive.Entries.ToDictionary(e => e.FullName, e =>
        {
            using var entry = e.Open();
            var bytes = new byte[e.Length];
            entry.ReadExactly(bytes);
            return bytes;
        }), StringComparer.Ordinal);
    }
}
