using System.Buffers.Binary;
using System.Diagnostics;
using System.Text;
using Fla.Models.Checkpoints;
using Fla.Models.Configs;
using Fla.Models.Tests.Checkpoints;
using Fla.Testing;
using NUnit.Framework;

namespace Fla.Models.Tests;

/// <summary>The readers of files from strangers, fed with 100,000 damaged files each: a result or the typed error, quickly, in little memory.</summary>
public sealed class FuzzTests
{
    private const int InputsPerReader = 100_000;
    private const long MaxBytesPerInput = 4 << 20;
    private static readonly TimeSpan MaxTimePerInput = TimeSpan.FromSeconds(2);

    [Test]
    public void SafetensorsReaderGivesTensorsOrATypedError()
    {
        var header = """
            {"__metadata__":{"format":"pt"},"model.a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
            "model.b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"c":{"dtype":"I64","shape":[],"data_offsets":[32,40]}}
            """;
        byte[][] seeds =
        [
            SafetensorsBytes.Build(header, 40),
            SafetensorsBytes.Build("{}", 0),
            SafetensorsBytes.Build("""{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"y":{"dtype":"F16","shape":[1,1,1],"data_offsets":[0,2]}}""", 2),
            File.ReadAllBytes(Golden.Path("models/gla/model.safetensors"))[..6000],
        ];
        Run(seeds, repairLength: true, bytes =>
        {
            using var file = SafetensorsFile.FromBytes(bytes);
            foreach (var tensor in file.Tensors.Values)
            {
                Assert.That(tensor.ByteLength, Is.InRange(0, bytes.Length));
                if (tensor.Type.IsFloatingPoint())
                {
                    Assert.That(file.ReadSingle(tensor.Name), Has.Length.EqualTo(tensor.ElementCount));
                }
                else
                {
                    Assert.That(file.ReadInt64(tensor.Name), Has.Length.EqualTo(tensor.ElementCount));
                }
            }
        });
    }

    [Test]
    public void ConfigReaderGivesAValidConfigOrATypedError()
    {
        byte[][] seeds =
        [
            .. ((string[])["gla", "gla_hybrid", "retnet", "based", "kda", "gated_deltaproduct", "rwkv7"]).Select(model => File.ReadAllBytes(Golden.Path($"models/{model}/config.json"))),
            Encoding.UTF8.GetBytes("""{"model_type":"gla","attn":[{"layers":[1],"num_heads":4}],"clamp_min":-Infinity,"x":{"__float__":"NaN"}}"""),
        ];
        Run(seeds, repairLength: false, bytes =>
        {
            var config = ModelConfig.Parse(bytes);
            config.Validate();
            Assert.That(config.MlpWidth, Is.Positive);
            Assert.That(ModelConfig.Parse(config.ToJson()).ToJson(), Is.EqualTo(config.ToJson()));
        });
    }

    [Test]
    public void IndexReaderGivesPlainFileNamesOrATypedError()
    {
        byte[][] seeds =
        [
            Encoding.UTF8.GetBytes("""{"metadata":{"total_size":12},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"""),
            Encoding.UTF8.GetBytes("""{"weight_map":{"x":"../y","z":"w"}}"""),
        ];
        Run(seeds, repairLength: false, bytes =>
        {
            foreach (var shard in ShardIndex.Parse(bytes, "index").Shards)
            {
                Assert.That(Path.GetFileName(shard), Is.EqualTo(shard).And.Not.Empty);
            }
        });
    }

    private static void Run(byte[][] seeds, bool repairLength, Action<byte[]> read)
    {
        var mutator = new Mutator(seed: 20240607);
        var accepted = 0;
        var clock = new Stopwatch();
        for (var i = 0; i < InputsPerReader; i++)
        {
            var bytes = mutator.Next(seeds);
            if (repairLength && i % 4 != 0 && bytes.Length >= 48)
            {
                // Most damage would end at a length that does not fit any more; a repaired one lets the damage reach the parser.
                var end = Array.LastIndexOf(bytes, (byte)'}');
                BinaryPrimitives.WriteInt64LittleEndian(bytes, Math.Max(0, end + 1 - 8));
            }

            var allocated = GC.GetAllocatedBytesForCurrentThread();
            clock.Restart();
            try
            {
                read(bytes);
                accepted++;
            }
            catch (Exception error) when (error is CheckpointException or ConfigException)
            {
                // The typed errors are what a damaged file should give.
            }
            catch (Exception error)
            {
                Assert.Fail($"input {i} ({Convert.ToBase64String(bytes)}) gave {error}");
            }

            Assert.That(clock.Elapsed, Is.LessThan(MaxTimePerInput), $"input {i}: {Convert.ToBase64String(bytes)}");
            Assert.That(GC.GetAllocatedBytesForCurrentThread() - allocated, Is.LessThan(MaxBytesPerInput), $"input {i}: {Convert.ToBase64String(bytes)}");
        }

        Assert.That(accepted, Is.InRange(InputsPerReader / 200, InputsPerReader * 3 / 4), "the damage should neither spare nor kill every file");
    }
}
