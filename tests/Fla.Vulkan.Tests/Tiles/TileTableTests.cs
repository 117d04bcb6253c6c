using NUnit.Framework;

namespace Fla.Vulkan.Tests.Tiles;

public sealed class TileTableTests
{
    private static readonly TileTable[] Tables = [VendorTiles.Nvidia, VendorTiles.Amd, VendorTiles.Intel, VendorTiles.Cpu];

    /// <summary>A kernel's constants after those of the tile product, in the forms that need most shared memory.</summary>
    private static readonly Dictionary<string, uint[][]> Forms = new()
    {
        ["linear/chunk_state"] = [[0, 0], [1, 0]],
        ["linear/chunk_out"] = [[0, 0], [1, 0]],
        ["linear/chunk_scores"] = [[1, 1, 0, 0, 0, 1, 1, 2, 2], [2, 1, 0, 1, 1, 1, 1, 2, 2], [2, 2, 1, 0, 0, 1, 1, 2, 2]],
        ["linear/chunk_gradients"] = [[1, 1, 0, 0, 1, 1, 2], [2, 2, 1, 0, 1, 1, 2]],
        ["linear/chunk_scores_backward"] = [[1, 0, 1, 1], [2, 1, 1, 1]],
        ["linear/fused_chunk"] = [[1], [2], [4]],
        ["delta/delta_state"] = [[1, 0, 16, 1], [2, 1, 25, 1], [4, 2, 8, 1]],
        ["delta/kkt"] = [[0, 0, 1, 1, 1, 2], [1, 1, 0, 1, 1, 4]],
        ["delta/solve"] = [[0, 1, 1], [1, 1, 1]],
    };

    [TestCaseSource(nameof(Tables))]
    public void EveryVendorHasEveryKernel(TileTable table) =>
        Assert.That(table.Select(r => r.Kernel), Is.EquivalentTo(VendorTiles.Nvidia.Select(r => r.Kernel)));

    [TestCaseSource(nameof(Tables))]
    public void EveryChoiceIsOneThatTheKernelHas(TileTable table)
    {
        Assert.That(TiledKernel.All.Select(k => k.Name), Is.EquivalentTo(table.Select(r => r.Kernel)));
        foreach (var row in table) Assert.That(new[] { row.Matrix, row.Plain }.Distinct(), Is.SubsetOf(TiledKernel.All.Single(k => k.Name == row.Kernel).Choices), row.Kernel);
    }

    [TestCase("linear/chunk_out[T=f16,MM=plain] [128,8]", "linear/chunk_out")]
    [TestCase("norm/softmax[T=f32]", "rows")]
    [TestCase("delta/solve", "delta/solve")]
    [TestCase("delta/kkt[T=f32]", "delta/kkt")]
    public void PipelinesBelongToKernels(string pipeline, string kernel) => Assert.That(TiledKernel.All.Where(k => k.Has(pipeline)).Select(k => k.Name), Is.EqualTo(new[] { kernel }));

    [TestCaseSource(nameof(Tables))]
    public void ChoicesFitTheVendorsSharedMemory(TileTable table)
    {
        foreach (var variant in new[] { "T=f16,MM=coopmat", "T=bf16,MM=coopmat", "T=f32,MM=plain" })
        {
            var isMatrix = variant.EndsWith("coopmat", StringComparison.Ordinal);
            var fragment = table == VendorTiles.Cpu ? 8u : 16;
            if (isMatrix && !ShaderLibrary.HasCooperativeMatrix) continue;
            uint[] Product(TileChoice choice, uint rows, uint columns) =>
                [(uint)choice.Workgroup, fragment == 8 ? 8u : 32, rows, columns, fragment, fragment, fragment, table == VendorTiles.Cpu ? 1u : 0];
            foreach (var (kernel, forms) in Forms)
            {
                var choice = table[kernel, isMatrix];
                foreach (var form in forms)
                {
                    uint[] spec = [.. Product(choice, 64, kernel == "delta/delta_state" ? (uint)choice.Columns : 64), 1, (uint)choice.Slice, .. form];
                    if (kernel == "linear/chunk_out") spec = [.. spec, (uint)choice.Columns / 64];
                    if (kernel == "linear/chunk_out") spec = [.. spec, 128 / (uint)choice.Slice];
                    spec = kernel is "linear/chunk_out" or "linear/chunk_state" ? [.. spec, 1, 1, 0] : [.. spec, 1];
                    Check($"{kernel}[{variant}]", spec);
                }
            }
            foreach (var kernel in new[] { "gemm/gemm", "gemm/gemm.large" })
            {
                var choice = table[kernel, isMatrix];
                foreach (var transposed in new uint[] { 0, 1 }) Check($"gemm/gemm[{variant}]", [.. Product(choice, (uint)choice.Rows, (uint)choice.Columns), transposed, 1 - transposed, 8, 1, (uint)choice.Slice, 8, 1, 1, 0]);
            }
        }

        void Check(string key, uint[] spec)
        {
            var values = spec.Select((v, i) => (v, i)).ToDictionary(x => (uint)x.i, x => x.v);
            Assert.That(ShaderLibrary.Reflect(key).SpecIds.Distinct(), Is.SubsetOf(values.Keys), key);
            Assert.That(ShaderLibrary.Reflect(key).SharedMemory(values), Is.LessThanOrEqualTo(table.SharedMemory), $"{table.Name}: {key} [{string.Join(',', spec)}]");
        }
    }

    [Test]
    public void AChoiceIsReplacedInACopy()
    {
        var changed = VendorTiles.Cpu.With("linear/chunk_out", isMatrix: true, new(64, 32, 0, 128));
        Assert.That(changed["linear/chunk_out", true], Is.EqualTo(new TileChoice(64, 32, 0, 128)));
        Assert.That(changed["linear/chunk_out", false], Is.EqualTo(VendorTiles.Cpu["linear/chunk_out", false]));
        Assert.That(VendorTiles.Cpu["linear/chunk_out", true].Workgroup, Is.EqualTo(256));
        Assert.That(() => VendorTiles.Cpu["linear/none", true], Throws.TypeOf<ShaderException>().With.Message.Contains("linear/none"));
        Assert.That(() => VendorTiles.Cpu.With("linear/none", true, default), Throws.TypeOf<ShaderException>());
    }
}
