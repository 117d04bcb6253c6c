using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;
using Product = Fla.Vulkan.Ops.Gemm;

namespace Fla.Vulkan.Tests.Ops.Gemm;

internal sealed class GemmTests(TestDevice device) : DeviceTests(device)
{
    private readonly record struct TilesArgs(In A, In B, In Bias, In D, InOut C, uint M, uint N, uint K, uint Lda, uint Ldb, uint Ldc,
        uint StrideA, uint StrideB, uint Batch, uint Splits, uint KPerSplit, float Alpha, float Beta);

    private static readonly DType[] Types = [DType.Float32, DType.Float16, DType.BFloat16];

    private static readonly GemmRoute[] General = [GemmRoute.Tiles, GemmRoute.Direct, GemmRoute.Packed];

    // m, n, k: whole tiles, ragged edges, odd sizes, single rows and columns, empty reductions.
    private static readonly (DType, int, int, int)[] Sizes =
    [
        (DType.Float32, 64, 64, 64), (DType.Float32, 67, 93, 71), (DType.Float32, 130, 20, 36), (DType.Float32, 16, 48, 16), (DType.Float32, 1, 7, 130),
        (DType.Float32, 33, 1, 5), (DType.Float32, 5, 66, 33), (DType.Float32, 128, 128, 4), (DType.Float32, 3, 5, 0),
        (DType.Float16, 67, 93, 71), (DType.Float16, 80, 72, 64), (DType.Float16, 7, 66, 33), (DType.BFloat16, 67, 93, 71), (DType.BFloat16, 80, 72, 64), (DType.BFloat16, 7, 66, 33),
    ];

    [Test]
    public void EveryTransposition([Values] bool transA, [Values] bool transB, [ValueSource(nameof(Sizes))] (DType Type, int M, int N, int K) size)
    {
        var c = new Case(size.Type, size.M, size.N, size.K) { TransA = transA, TransB = transB };
        Check(c with { Route = GemmRoute.Tiles });
        if (c.K > 0 && (c.N >= 4 || transB)) Check(c with { Route = GemmRoute.Direct });
        if (c.M <= 8 && !transA && transB) Check(c with { Route = GemmRoute.Skinny });
        Check(c with { Route = GemmRoute.Packed });
    }

    [Test]
    public void Batches([ValueSource(nameof(Types))] DType type, [Values] bool transA, [Values] bool transB, [Values] bool sharedB, [ValueSource(nameof(General))] GemmRoute route) =>
        Check(new(type, 35, 22, 40) { TransA = transA, TransB = transB, Batch = 3, IsSharedB = sharedB, Route = route });

    [Test]
    public void ScalesAndAdds([ValueSource(nameof(Types))] DType type, [Values] GemmRoute route, [Values] bool inPlace, [Values] bool outFloat32) =>
        Check(new(type, route == GemmRoute.Skinny ? 5 : 70, 50, 64) { Route = route, TransB = true, Alpha = 0.5f, Beta = -2, HasBias = true, IsInPlace = inPlace, IsOutFloat32 = outFloat32 });

    [Test]
    public void LongReductionsAreCut([ValueSource(nameof(Types))] DType type, [Values] bool transA, [Values(1, 2)] int batch)
    {
        var c = new Case(type, 20, 24, 4099) { TransA = transA, Batch = batch, Alpha = 0.25f, Beta = 1, HasBias = true, Route = GemmRoute.Tiles };
        Assert.That(GemmPlan.For(Device, type, c.M, c.N, c.K, batch).Splits, Is.GreaterThan(1));
        Assert.That(GemmPlan.ForPacked(Device, c.M, c.N, c.K, batch).Splits, Is.GreaterThan(1));
        Check(c);
        Check(c with { Route = GemmRoute.Packed });
    }

    [Test]
    public void LargeTiles([ValueSource(nameof(Types))] DType type, [ValueSource(nameof(General))] GemmRoute route) =>
        Check(new(type, 1030, 1284, 96) { TransB = true, Route = route });

    [Test]
    public void MatricesThatAreNotAligned([ValueSource(nameof(Types))] DType type, [Values] GemmRoute route)
    {
        // Rows of a view begin where the view begins: here one element past a quad.
        const int n = 33, k = 64;
        if (IsMissing(route, type)) return;
        var m = route == GemmRoute.Skinny ? 2 : 40;
        var (av, bv) = (Round(Inputs.Normal(1, m, k), type), Round(Inputs.Normal(2, n, k), type));
        using var a = Make([0, .. av.ToFloats()], [m * k + 1], type).Narrow(1, m * k);
        using var b = Make([0, .. bv.ToFloats()], [n * k + 1], type).Narrow(1, n * k);
        using var c = Tensor.Empty(Device, type, m, n);
        Product.Run(new(a, m, k), new(b, n, k, Transposed: true), c, route: route);
        ErrorRatio.AssertClose(c.ToSingle(), Reference.Matmul(av, bv, transposeB: true).O.ToFloats(), Tolerance(type), "C");
    }

    [Test]
    public void SlicesAreReadAheadAsOnGpus([ValueSource(nameof(Types))] DType type, [Values] bool transA, [Values] bool transB, [Values] bool outFloat32)
    {
        // Tiles over both edges; two pairs of slices of 32, then what is left of the reduction. CPU drivers do not read ahead by themselves.
        const int m = 72, n = 40, k = 168, tile = 32;
        const uint workgroup = 64;
        var outType = outFloat32 ? DType.Float32 : type;
        var (rowsA, columnsA) = transA ? (k, m) : (m, k);
        var (rowsB, columnsB) = transB ? (n, k) : (k, n);
        RefTensor av = Round(Inputs.Normal(1, rowsA, columnsA), type), bv = Round(Inputs.Normal(2, rowsB, columnsB), type), biasValues = Round(Inputs.Normal(3, n), type);
        var dv = Round(Inputs.Normal(4, m, n), outType);
        using var a = Make(av.ToFloats(), av.Shape, type);
        using var b = Make(bv.ToFloats(), bv.Shape, type);
        using var bias = Make(biasValues.ToFloats(), biasValues.Shape, type);
        using var d = Make(dv.ToFloats(), dv.Shape, outType);
        using var c = Tensor.Empty(Device, outType, m, n);
        var spec = TileProduct.Spec(Device, type, tile, tile, workgroup, transA ? 1u : 0, transB ? 1u : 0, 8, outFloat32 ? 1u : 0, 32, 8, 1, 1, 0);
        spec[7] = 0;
        new Kernel<TilesArgs>("gemm/gemm").Launch(Device, new(a, b, bias, d, c, m, n, k, (uint)columnsA, (uint)columnsB, n, 0, 0, 1, 1, 256, 1, 1),
            Grid.Linear((m + tile - 1) / tile * ((n + tile - 1) / tile)), $"{type.Variant()},{TileProduct.Path(Device, type)}", spec);
        var product = Reference.Matmul(av, bv, transA, transB, biasValues).O;
        var expected = product.Data.Select((x, i) => (float)(x + dv.Data[i])).ToArray();
        ErrorRatio.AssertClose(c.ToSingle(), expected, outFloat32 ? 1e-5 : Tolerance(type), "C");
    }

    [Test]
    public void ResultsRepeatBitForBit()
    {
        using var a = Make(Inputs.Normal(1, 4000, 20).ToFloats(), [4000, 20]);
        using var b = Make(Inputs.Normal(2, 4000, 30).ToFloats(), [4000, 30]);
        float[] Once()
        {
            using var c = Tensor.Empty(Device, DType.Float32, 20, 30);
            Product.Run(new(a, 4000, 20, Transposed: true), new(b, 4000, 30), c, route: GemmRoute.Tiles);
            return c.ToSingle();
        }
        var first = Once();
        Assert.That(Once(), Is.EqualTo(first));
    }

    [Test]
    public void BadArgumentsAreNamed()
    {
        using var a = Tensor.Zeros(Device, DType.Float32, 4, 5);
        using var b = Tensor.Zeros(Device, DType.Float32, 6, 3);
        using var half = Tensor.Zeros(Device, DType.Float16, 5, 3);
        using var c = Tensor.Zeros(Device, DType.Float32, 4, 3);
        Assert.Throws<ShapeException>(() => Product.Run(new(a, 4, 5), new(b, 6, 3), c));
        Assert.Throws<ShapeException>(() => Product.Run(new(a, 4, 4), new(b, 6, 3), c));
        Assert.Throws<DTypeException>(() => Product.Run(new(a, 4, 5), new(half, 5, 3), c));
        Assert.Throws<ShapeException>(() => Product.Run(new(a, 4, 5), new(a, 4, 5, Transposed: true), c));
    }

    private static RefTensor Round(RefTensor x, DType type) => type switch
    {
        DType.Float16 => x.RoundToHalf(),
        DType.BFloat16 => x.RoundToBFloat16(),
        _ => x.Map(v => (float)v),
    };

    private static double Tolerance(DType type) => type switch { DType.Float16 => 5e-3, DType.BFloat16 => 2e-2, _ => 1e-5 };

    private bool IsMissing(GemmRoute route, DType type) => route == GemmRoute.Packed && !PackedProduct.Can(Device, type);

    private void Check(Case x)
    {
        var (rowsA, columnsA) = x.TransA ? (x.K, x.M) : (x.M, x.K);
        var (rowsB, columnsB) = x.TransB ? (x.N, x.K) : (x.K, x.N);
        var av = Round(Inputs.Normal(1, x.Batch, rowsA, columnsA), x.Type);
        var bv = Round(Inputs.Normal(2, x.IsSharedB ? [rowsB, columnsB] : [x.Batch, rowsB, columnsB]), x.Type);
        var biasValues = Round(Inputs.Normal(3, x.N), x.Type);
        var outType = x.IsOutFloat32 ? DType.Float32 : x.Type;
        var dv = Round(Inputs.Normal(4, x.Batch, x.M, x.N), outType);

        using var a = Make(av.ToFloats(), av.Shape, x.Type);
        using var b = Make(bv.ToFloats(), bv.Shape, x.Type);
        using var bias = x.HasBias ? Make(biasValues.ToFloats(), biasValues.Shape, x.Type) : null;
        using var d = x.Beta != 0 ? Make(dv.ToFloats(), dv.Shape, outType) : null;
        using var c = x.IsInPlace ? d!.Detach() : Tensor.Empty(Device, outType, x.Batch, x.M, x.N);
        void Run() =>
            Product.Run(new(a, rowsA, columnsA, x.TransA, PerBatch: true), new(b, rowsB, columnsB, x.TransB, PerBatch: !x.IsSharedB), c, x.Batch, x.Alpha, bias, d, x.Beta, x.Route);
        if (IsMissing(x.Route, x.Type))
        {
            Assert.Throws<DeviceException>(Run);
            return;
        }
        Run();

        var expected = new float[x.Batch * x.M * x.N];
        for (var batch = 0; batch < x.Batch; batch++)
        {
            for (var i = 0; i < x.M; i++)
            {
                for (var j = 0; j < x.N; j++)
                {
                    double sum = 0;
                    for (var k = 0; k < x.K; k++)
                    {
                        var left = av.Data[batch * x.M * x.K + (x.TransA ? k * x.M + i : i * x.K + k)];
                        var right = bv.Data[(x.IsSharedB ? 0 : batch * x.K * x.N) + (x.TransB ? j * x.K + k : k * x.N + j)];
                        sum += left * right;
                    }
                    var at = (batch * x.M + i) * x.N + j;
                    expected[at] = (float)(x.Alpha * sum + (x.HasBias ? biasValues.Data[j] : 0) + x.Beta * dv.Data[at]);
                }
            }
        }
        ErrorRatio.AssertClose(c.ToSingle(), expected, x.IsOutFloat32 ? 1e-5 : Tolerance(x.Type), x.ToString());
    }

    private sealed record Case(DType Type, int M, int N, int K)
    {
        public bool TransA { get; init; }

        public bool TransB { get; init; }

        public int Batch { get; init; } = 1;

        public bool IsSharedB { get; init; }

        public float Alpha { get; init; } = 1;

        public float Beta { get; init; }

        public bool HasBias { get; init; }

        public bool IsInPlace { get; init; }

        public bool IsOutFloat32 { get; init; }

        public GemmRoute Route { get; init; }
    }
}
