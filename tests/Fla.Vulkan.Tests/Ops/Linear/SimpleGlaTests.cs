using Fla.Testing;
using Fla.Testing.References;
using Fla.Vulkan.Ops;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Ops.Linear;

public sealed class SimpleGlaTests(TestDevice device) : DeviceTests(device)
{
    private static IEnumerable<LinearCase> Cases()
    {
        var usual = new LinearCase();
        yield return usual;
        yield return usual with { HasStates = false, Scale = 0.3 };
        yield return usual with { B = 1, T = 15, K = 60, V = 100, H = 1, VFirst = true };
        yield return usual with { B = 1, T = 65, H = 1, K = 70, V = 37 };
        yield return usual with { B = 1, T = 40, H = 1, K = 128, V = 66 };
        yield return usual with { Normalizer = 0.05 };
        yield return usual with { Normalizer = 10, VFirst = true };
        yield return usual with { B = 1, T = 97, Packed = [0, 1, 17, 80, 80, 97], VFirst = true };
        yield return usual with { B = 1, T = 15, Packed = [0, 0, 15] };
        yield return usual with { Type = DType.Float16 };
        yield return usual with { Type = DType.Float16, B = 1, T = 70, H = 1, K = 100, V = 72 };
        yield return usual with { Type = DType.BFloat16 };
        yield return usual with { Type = DType.Float16, GateType = DType.Float16, B = 1, T = 97, Packed = [0, 1, 17, 80, 80, 97] };
    }

    private static (string, RefTensor)[] Gates(LinearCase c) => [("g", c.G)];

    private static RefResult Expected(LinearCase c) => Reference.SimpleGla(c.Q, c.Key, c.Value, c.G, null, c.Scale, c.InitialState, c.Reverse, c.Packed, c.OutputGradient, c.FinalGradient);

    [TestCaseSource(nameof(Cases))]
    public void ChunkIsTheRecurrence(object of) => Chunk((LinearCase)of, 64);

    /// <summary>Whole chunks of heads of 128 or 256 channels: their states go between kernels in the order of operands, and long sequences of few heads are walked over in two parts.</summary>
    private static IEnumerable<LinearCase> WholeCases()
    {
        var whole = new LinearCase { B = 1, T = 128, H = 1, K = 128, V = 128, Type = DType.Float16, HasGradients = false };
        yield return whole;
        yield return whole with { T = 256, VFirst = true, Normalizer = 10 };
        yield return whole with { HasStates = false, Normalizer = 0.05 };
        yield return whole with { T = 4096 };
        yield return whole with { K = 256, H = 2 };
    }

    [TestCaseSource(nameof(WholeCases))]
    public void WholeChunksAreTheRecurrence(object of) => Chunk((LinearCase)of, 64);

    [TestCase(16)]
    [TestCase(32)]
    public void ChunkLengthChangesNothing(int chunk) => Chunk(new LinearCase { B = 1, T = 75, Packed = [0, 33, 75] }, chunk);

    /// <summary>Parts of the gate's gradient are as many as workgroups share an output: what none of them writes must not be added.</summary>
    [Test]
    public void AWorkgroupMayMakeSeveralTilesOfAnOutput()
    {
        if (Device.MatrixShape(DType.Float16) is null) Assert.Ignore("in plain arithmetic a workgroup makes one tile");
        using var folder = new TemporaryFolder();
        var path = folder.File("tiles.json");
        TileFileChoice wide = new("linear/chunk_out", "matrix", 256, 32, 0, 128);
        new TileFile(TileFile.Current, [new(Device.Info.Name, Device.Info.Driver, [wide])]).Save(path);
        using var device = ComputeDevice.Create(Device.Options with { TileFile = path, PoisonMemory = true });
        using var scope = device.Scope();
        Chunk(new LinearCase { B = 1, T = 70, H = 1, K = 100, V = 72, Type = DType.Float16 }, 64, device);
    }

    private void Chunk(LinearCase c, int chunk, ComputeDevice? device = null) => c.Check(device ?? Device, Expected(c), Gates(c), (q, k, v, g, h0, packed) =>
        LinearOps.ChunkSimpleGla(q, k, v, g[0], null, (float?)c.Scale, h0, c.HasStates, c.VFirst, packed, chunk));

    private static IEnumerable<LinearCase> FusedCases() => Cases().Select(c => c with { VFirst = false });

    [TestCaseSource(nameof(FusedCases))]
    public void FusedChunkIsTheRecurrence(object of)
    {
        var c = (LinearCase)of;
        c.Check(Device, Expected(c), Gates(c), (q, k, v, g, h0, packed) => LinearOps.FusedChunkSimpleGla(q, k, v, g[0], null, (float?)c.Scale, h0, c.HasStates, packed));
    }

    [TestCaseSource(nameof(Cases))]
    public void RecurrentIsTheRecurrence(object of) => Recurrent((LinearCase)of);

    [TestCase(false)]
    [TestCase(true)]
    public void RecurrentRunsBackwards(bool vFirst) => Recurrent(new LinearCase { B = 1, T = 40, Packed = [0, 7, 7, 40], Reverse = true, VFirst = vFirst });

    private void Recurrent(LinearCase c) => c.Check(Device, Expected(c), Gates(c), (q, k, v, g, h0, packed) =>
        LinearOps.FusedRecurrentSimpleGla(q, k, v, g[0], null, (float?)c.Scale, h0, c.HasStates, c.Reverse, c.VFirst, packed));

    [Test]
    public void ConstantDecayMultipliesWithTheGate()
    {
        var c = new LinearCase { B = 1, T = 75, Packed = [0, 33, 75] };
        double[] gamma = [-0.25, -0.0625];
        var expected = new AddRecurrence
        {
            Q = c.Q, K = c.Key, V = c.Value, G = c.G, Gamma = gamma, InitialState = c.InitialState, CuSeqlens = c.Packed,
            OutputGradient = c.OutputGradient, FinalStateGradient = c.FinalGradient,
        }.Run();
        var gGamma = Make([-0.25f, -0.0625f], [2]);
        c.Check(Device, expected, Gates(c), (q, k, v, g, h0, packed) => LinearOps.ChunkSimpleGla(q, k, v, g[0], gGamma, null, h0, true, cuSeqlens: packed));
        c.Check(Device, expected, Gates(c), (q, k, v, g, h0, packed) => LinearOps.FusedRecurrentSimpleGla(q, k, v, g[0], gGamma, null, h0, true, cuSeqlens: packed));
    }

    [Test]
    public void ConstantDecayAloneIsTheRecurrenceInEveryForm()
    {
        var c = new LinearCase { T = 66 };
        var expected = Reference.SimpleGla(c.Q, c.Key, c.Value, null, [-0.25, -3], null, c.InitialState, false, null, c.OutputGradient, c.FinalGradient);
        var gGamma = Make([-0.25f, -3], [2]);
        c.Check(Device, expected, [], (q, k, v, _, h0, _) => LinearOps.ChunkSimpleGla(q, k, v, null, gGamma, null, h0, true));
        c.Check(Device, expected, [], (q, k, v, _, h0, _) => LinearOps.FusedChunkSimpleGla(q, k, v, null, gGamma, null, h0, true));
        c.Check(Device, expected, [], (q, k, v, _, h0, _) => LinearOps.FusedRecurrentSimpleGla(q, k, v, null, gGamma, null, h0, true));
    }

    [Test]
    public void WidestHeadsFit([Values(LinearMode.Chunk, LinearMode.FusedChunk, LinearMode.Recurrent)] LinearMode mode, [Values(256, 512)] int width)
    {
        var c = new LinearCase(B: 1, T: 18, H: 1, K: width, V: width) { Type = DType.Float16 };
        c.Check(Device, Expected(c), Gates(c), (q, k, v, g, h0, _) => mode switch
        {
            LinearMode.Chunk => LinearOps.ChunkSimpleGla(q, k, v, g[0], null, null, h0, true),
            LinearMode.FusedChunk => LinearOps.FusedChunkSimpleGla(q, k, v, g[0], null, null, h0, true),
            _ => LinearOps.FusedRecurrentSimpleGla(q, k, v, g[0], null, null, h0, true),
        });
    }

    [Test]
    public void FusedChunkTakesOneKindOfGate()
    {
        var c = new LinearCase { B = 1, T = 16 };
        Tensor q = LinearCase.Upload(Device, c.Q, DType.Float32), k = LinearCase.Upload(Device, c.Key, DType.Float32), v = LinearCase.Upload(Device, c.Value, DType.Float32);
        var g = LinearCase.Upload(Device, c.G, DType.Float32);
        var gGamma = Make([-1, -2], [2]);
        Assert.That(() => LinearOps.FusedChunkSimpleGla(q, k, v, g, gGamma), Throws.ArgumentException);
    }

    [Test]
    public void GoldenCase() => GoldenLinear.Check(Device, "chunk_simple_gla", ["g"], (q, k, v, g) => LinearOps.ChunkSimpleGla(q, k, v, g[0], outputFinalState: true));

    [Test]
    public void WrongArgumentsAreNamed()
    {
        Tensor q = Tensor.Zeros(Device, DType.Float32, 2, 8, 2, 16), v = Tensor.Zeros(Device, DType.Float32, 2, 8, 2, 8);
        using var packed = new CuSeqlens(Device, 0, 8);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(() => LinearOps.ChunkSimpleGla(q, v, v), Throws.TypeOf<ShapeException>().With.Message.Contains("k needs the shape"));
            Assert.That(() => LinearOps.ChunkSimpleGla(q, q, q.To(DType.Float16)), Throws.TypeOf<DTypeException>().With.Message.Contains("v needs"));
            Assert.That(() => LinearOps.ChunkSimpleGla(q, q, v, g: v), Throws.TypeOf<ShapeException>().With.Message.Contains("g needs the shape"));
            Assert.That(() => LinearOps.ChunkSimpleGla(q, q, v, chunkSize: 24), Throws.TypeOf<ShapeException>().With.Message.Contains("chunkSize"));
            Assert.That(() => LinearOps.ChunkSimpleGla(q, q, v, cuSeqlens: packed), Throws.TypeOf<ShapeException>().With.Message.Contains("B must be 1"));
            Assert.That(() => LinearOps.ChunkSimpleGla(q, q, v, initialState: v), Throws.TypeOf<ShapeException>().With.Message.Contains("initialState needs"));
            Assert.That(() => LinearOps.FusedRecurrentSimpleGla(Tensor.Zeros(Device, DType.Float32, 1, 2, 1, 513), Tensor.Zeros(Device, DType.Float32, 1, 2, 1, 513), v),
                Throws.TypeOf<ShapeException>());
        }
    }
}
