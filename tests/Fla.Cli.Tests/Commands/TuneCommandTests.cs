using Fla.Cli.Benchmarks;
using Fla.Cli.Tuning;
using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Cli.Tests.Commands;

public sealed class TuneCommandTests
{
    private static readonly string[] Small = ["chunk_retention", "--shape", "1,16,1,16", "--dtype", "f32"];

    [Test]
    public void ChoicesAreFoundWrittenAndReadByTheLibrary()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("tiles.json");
        var (status, output, error) = Tool.Run(["tune", "rms_norm", "--shape", "1,8,2,16", "--dtype", "f32", "--output", path]);
        Assert.That((status, error), Is.EqualTo((0, "")));
        Assert.That(output, Does.Contain("rows").And.Contains($"written to {path}"));
        var choices = TileFile.Load(path).Devices.Single().Choices;
        Assert.That(choices.Single().Kernel, Is.EqualTo("rows"));
        using var device = ComputeDevice.Create(DeviceOptions.FromEnvironment() with { TileFile = path });
        Assert.That(device.Tiles["rows", false].Workgroup, Is.EqualTo(choices.Single().Workgroup));
        Assert.That(device.Tiles.Notes, Is.Empty);
    }

    [Test]
    public void ADryRunListsAndWritesNothing()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("tiles.json");
        var (status, output, _) = Tool.Run(["tune", .. Small, "--dry-run", "--output", path]);
        Assert.That(status, Is.Zero);
        Assert.That(output, Does.Contain("linear/chunk_state").And.Contains("linear/chunk_out"));
        Assert.That(File.Exists(path), Is.False);
    }

    [Test]
    public void WhatIsInUseIsShown()
    {
        var (status, output, _) = Tool.Run("tune", "--show");
        Assert.That(status, Is.Zero);
        foreach (var kernel in TiledKernel.All) Assert.That(output, Does.Contain(kernel.Name));
    }

    [Test]
    public void AnUnusableFileIsNotWrittenOver()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("tiles.json");
        File.WriteAllText(path, "notes");
        var (status, _, error) = Tool.Run(["tune", .. Small, "--output", path]);
        Assert.That(status, Is.EqualTo(1));
        Assert.That(error, Does.Contain("cannot be read as a file of tile choices"));
        Assert.That(File.ReadAllText(path), Is.EqualTo("notes"));
    }

    [Test]
    public void WhenTimeRunsOutTheRestIsLeft()
    {
        using var device = ComputeDevice.Create(DeviceOptions.FromEnvironment() with { TileFile = "" });
        var before = device.Tiles;
        var tuner = new Tuner(device, DType.Float32, TimeSpan.Zero, CancellationToken.None);
        Assert.That(tuner.Run([new(BenchRegistry.Find(["chunk_retention"])[0], new(1, 16, 1, 16))], _ => { }), Is.Empty);
        Assert.That(tuner.IsCutShort, Is.True);
        Assert.That(device.Tiles, Is.SameAs(before));
    }

    [Test]
    public void AnOpThatIsWrongIsNotTuned()
    {
        using var device = ComputeDevice.Create(DeviceOptions.FromEnvironment() with { TileFile = "" });
        var tuner = new Tuner(device, DType.Float32, TimeSpan.FromSeconds(10), CancellationToken.None);
        Assert.That(() => tuner.Run([new(new WrongOp(), new(1, 1, 1, 1))], _ => { }), Throws.TypeOf<FlaException>().With.Message.Contains("relative error 0.5"));
    }

    private sealed record WrongOp() : BenchOp("wrong")
    {
        public override BenchCase Make(ComputeDevice device, DType type, BenchShape shape) => new([], () => Tensor.Zeros(device, type, 1), null, () => 0.5, default, default);
    }
}
