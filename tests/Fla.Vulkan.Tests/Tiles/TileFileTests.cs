using Fla.Testing;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Tiles;

public sealed class TileFileTests
{
    private static readonly DeviceInfo Info = DeviceInfo.All()[0];
    private static readonly TileFileChoice Choice = new("linear/chunk_out", "plain", 64, 64, 0, 128);

    private static TileFile Of(params TileFileChoice[] choices) => new(TileFile.Current, [new(Info.Name, Info.Driver, choices)]);

    private static TileTable Table(string path, string? userPath = null) => TileFile.TableFor(Info, new() { TileFile = path }, userPath ?? "/nowhere");

    [Test]
    public void AFileIsReadAsItWasWritten()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("new/tiles.json");
        Of(Choice).Save(path);
        var read = TileFile.Load(path).Devices.Single();
        Assert.That((read.Device, read.Driver), Is.EqualTo((Info.Name, Info.Driver)));
        Assert.That(read.Choices, Is.EqualTo(new[] { Choice }));
    }

    [Test]
    public void ChoicesOfADeviceReplaceEarlierOnesForTheSameKernels()
    {
        TileFileChoice other = new("delta/solve", "plain", 256, 32), newer = Choice with { Workgroup = 256 };
        var file = Of(Choice, other).With(Info.Name, Info.Driver, [newer]).With("another card", "a driver", [Choice]);
        Assert.That(file.Devices.Single(d => d.Device == Info.Name).Choices, Is.EquivalentTo(new[] { other, newer }));
        Assert.That(file.Devices.Single(d => d.Device == "another card").Choices, Is.EqualTo(new[] { Choice }));
        Assert.That(file.With(Info.Name, "newer driver", [newer]).Devices.Single(d => d.Device == Info.Name).Choices, Is.EqualTo(new[] { newer }), "what another driver measured is gone");
    }

    [Test]
    public void TheUsersFileComesBeforeTheVendorsTableAndANamedFileInItsPlace()
    {
        using var folder = new TemporaryFolder();
        string user = folder.File("user.json"), named = folder.File("named.json");
        Of(Choice).Save(user);
        Of(Choice with { Workgroup = 256 }).Save(named);
        var builtIn = VendorTiles.For(Info);
        int Workgroup(string? path) => TileFile.TableFor(Info, new() { TileFile = path }, user)["linear/chunk_out", false].Workgroup;
        Assert.That(Workgroup(""), Is.EqualTo(builtIn["linear/chunk_out", false].Workgroup));
        Assert.That(Workgroup(null), Is.EqualTo(64));
        Assert.That(Workgroup(named), Is.EqualTo(256));
        Assert.That(TileFile.TableFor(Info, new(), user).Name, Does.Contain("1 choices of").And.Contains(user));
        Assert.That(TileFile.TableFor(Info, new(), user)["delta/solve", false], Is.EqualTo(builtIn["delta/solve", false]), "the others stay");
    }

    [TestCase("", "cannot be read")]
    [TestCase("{", "cannot be read")]
    [TestCase("[]", "cannot be read")]
    [TestCase("null", "no file of tile choices")]
    [TestCase("{}", "version 0")]
    [TestCase("{\"version\":2,\"devices\":[]}", "version 2")]
    [TestCase("{\"version\":1}", "names no devices")]
    [TestCase("{\"version\":1,\"devices\":[null]}", "lacks its name")]
    [TestCase("{\"version\":1,\"devices\":[{\"device\":\"x\"}]}", "lacks its name")]
    [TestCase("{\"version\":1,\"devices\":[{\"device\":\"x\",\"driver\":\"y\",\"choices\":[{\"kernel\":\"delta/solve\",\"path\":\"fast\"}]}]}", "path is not")]
    [TestCase("{\"version\":1,\"devices\":[{\"device\":\"x\",\"driver\":\"y\",\"choices\":[{\"kernel\":\"delta/solve\",\"path\":\"plain\",\"workgroup\":100,\"slice\":32}]}]}", "cannot run with workgroup 100")]
    [TestCase("{\"version\":1,\"devices\":[{\"device\":\"x\",\"driver\":\"y\",\"choices\":[{\"kernel\":\"delta/solve\",\"path\":\"plain\",\"workgroup\":1e99}]}]}", "cannot be read")]
    public void AnotherFileIsATypedErrorWhereNamedAndANoteWhereNot(string text, string why)
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("tiles.json");
        File.WriteAllText(path, text);
        Assert.That(() => Table(path), Throws.TypeOf<TileFileException>().With.Message.Contains(path).And.Message.Contains(why));
        var table = TileFile.TableFor(Info, new(), path);
        Assert.That(table.Notes.Single(), Does.Contain(why).And.Contains("built-in choices are used"));
        Assert.That(table, Is.EqualTo((IEnumerable<TileRow>)VendorTiles.For(Info)));
    }

    [Test]
    public void AFileOfAnotherDriverOrBuildIsUsedAndSaidSo()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("tiles.json");
        new TileFile(TileFile.Current, [new(Info.Name, "driver 1", [Choice, new("linear/gone", "plain", 1)])]).Save(path);
        var table = Table(path);
        Assert.That(table["linear/chunk_out", false], Is.EqualTo(new TileChoice(64, 64, 0, 128)));
        Assert.That(table.Notes, Has.Exactly(1).Contains("linear/gone").And.Exactly(1).Contains("driver 1"));
    }

    [Test]
    public void AMissingFileIsNothingOrATypedError()
    {
        Assert.That(TileFile.TableFor(Info, new(), "/nowhere/tiles.json").Notes, Is.Empty);
        Assert.That(() => Table("/nowhere/tiles.json"), Throws.TypeOf<TileFileException>().With.Message.Contains("/nowhere/tiles.json"));
        Assert.That(() => ComputeDevice.Create(DeviceOptions.FromEnvironment() with { TileFile = "/nowhere/tiles.json" }), Throws.TypeOf<TileFileException>());
    }

    [Test]
    public void AFolderThatCannotBeMadeIsATypedError()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("file"), "");
        Assert.That(() => Of(Choice).Save(folder.File("file/tiles.json")), Throws.TypeOf<TileFileException>());
    }
}
