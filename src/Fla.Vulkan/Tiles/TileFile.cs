using System.Text.Json;

namespace Fla.Vulkan;

/// <summary>A choice in a <see cref="TileFile"/>.</summary>
/// <param name="Kernel">Name of the kernel, as in the table.</param>
/// <param name="Path">"matrix" or "plain".</param>
/// <param name="Workgroup">Invocations of a workgroup.</param>
/// <param name="Slice">Length of a reduction's pieces.</param>
/// <param name="Rows">Rows of a tile.</param>
/// <param name="Columns">Columns of a tile.</param>
public sealed record TileFileChoice(string Kernel, string Path, int Workgroup, int Slice = 0, int Rows = 0, int Columns = 0)
{
    internal bool IsMatrix => Path == "matrix";
}

/// <summary>The choices for one device.</summary>
/// <param name="Device">Its name.</param>
/// <param name="Driver">The driver under which they were measured.</param>
/// <param name="Choices">What differs from the vendor's table.</param>
public sealed record TileFileDevice(string Device, string Driver, IReadOnlyList<TileFileChoice> Choices);

/// <summary>The user's own choices, as <c>fla tune</c> writes them.</summary>
/// <param name="Version"><see cref="Current"/>.</param>
/// <param name="Devices">Of each device that was tuned.</param>
public sealed record TileFile(int Version, IReadOnlyList<TileFileDevice> Devices)
{
    /// <summary>The version of the format that this build reads and writes.</summary>
    public const int Current = 1;

    private const long LargestFile = 1 << 20;

    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.General) { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, WriteIndented = true };

    /// <summary>The user's file: tiles.json in the folder fla-vulkan of the folder for settings.</summary>
    public static string UserPath { get; } =
        System.IO.Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.ApplicationData, Environment.SpecialFolderOption.DoNotVerify), "fla-vulkan", "tiles.json");

    /// <summary>Reads a file.</summary>
    /// <exception cref="TileFileException">It cannot be read, is no such file, is of another version, or has a choice that its kernel cannot run with.</exception>
    public static TileFile Load(string path)
    {
        try
        {
            if (new FileInfo(path).Length > LargestFile) throw new TileFileException($"{path} is too large for a file of tile choices");
            var file = JsonSerializer.Deserialize<TileFile>(File.ReadAllBytes(path), Json) ?? throw new TileFileException($"{path} is no file of tile choices");
            if (file.Version != Current) throw new TileFileException($"{path} is of version {file.Version}, this build reads {Current}: run fla tune again");
            file.Check(path);
            return file;
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new TileFileException($"{path} cannot be read as a file of tile choices: {e.Message}", e);
        }
    }

    /// <summary>Writes the file, whole or not at all; makes its folder.</summary>
    /// <exception cref="TileFileException">It cannot be written.</exception>
    public void Save(string path)
    {
        try
        {
            WholeFile.Write(path, JsonSerializer.SerializeToUtf8Bytes(this, Json));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TileFileException($"{path} cannot be written: {e.Message}", e);
        }
    }

    /// <summary>The file with choices of a device added to those that it has, in place of earlier ones for the same kernels.</summary>
    public TileFile With(string device, string driver, IReadOnlyList<TileFileChoice> choices)
    {
        var before = Devices.Where(d => d.Device == device && d.Driver == driver).SelectMany(d => d.Choices).Where(c => !choices.Any(n => n.Kernel == c.Kernel && n.Path == c.Path));
        return this with { Devices = [.. Devices.Where(d => d.Device != device), new(device, driver, [.. before, .. choices])] };
    }

    /// <summary>
    /// The table of a device: the vendor's, then the user's file over it, or the one that the options name instead. A file of the user's that cannot be used is left
    /// out and said so in <see cref="TileTable.Notes"/>.
    /// </summary>
    /// <exception cref="TileFileException">The file that the options name cannot be used.</exception>
    /// <param name="info">The device.</param>
    /// <param name="options">How it is opened.</param>
    /// <param name="user">The user's file.</param>
    internal static TileTable TableFor(DeviceInfo info, DeviceOptions options, string user)
    {
        var table = VendorTiles.For(info);
        if (options.TileFile == "") return table;
        if (options.TileFile is { } named) return Load(named).Over(table, info, named);
        if (!File.Exists(user)) return table;
        try
        {
            return Load(user).Over(table, info, user);
        }
        catch (TileFileException e)
        {
            return table.WithNote($"{e.Message}; the built-in choices are used");
        }
    }

    private TileTable Over(TileTable table, DeviceInfo info, string path)
    {
        if (Devices.LastOrDefault(d => d.Device == info.Name) is not { } own) return table.WithNote($"{path} has nothing for {info.Name}");
        var unknown = own.Choices.Where(c => TiledKernel.All.All(k => k.Name != c.Kernel)).Select(c => c.Kernel).ToList();
        foreach (var c in own.Choices.Where(c => !unknown.Contains(c.Kernel))) table = table.With(c.Kernel, c.IsMatrix, new(c.Workgroup, c.Slice, c.Rows, c.Columns));
        table = table.From($"{table.Name}, with {own.Choices.Count - unknown.Count} choices of {path}");
        if (unknown.Count > 0) table = table.WithNote($"{path} names kernels that this build has not: {string.Join(", ", unknown)}");
        return own.Driver == info.Driver ? table : table.WithNote($"{path} was measured with another driver ({own.Driver}): run fla tune again");
    }

    private void Check(string path)
    {
        if (Devices is null) throw new TileFileException($"{path} is no file of tile choices: it names no devices");
        foreach (var device in Devices)
        {
            if (device is not { Device: not null, Driver: not null, Choices: not null }) throw new TileFileException($"{path}: a device lacks its name, driver or choices");
            foreach (var c in device.Choices)
            {
                if (c is not { Kernel: not null, Path: "matrix" or "plain" }) throw new TileFileException($"{path}: a choice lacks its kernel, or its path is not \"matrix\" or \"plain\"");
                if (TiledKernel.All.FirstOrDefault(k => k.Name == c.Kernel) is not { } kernel) continue;
                TileChoice choice = new(c.Workgroup, c.Slice, c.Rows, c.Columns);
                if (!kernel.Choices.Contains(choice)) throw new TileFileException($"{path}: {c.Kernel} cannot run with {choice}");
            }
        }
    }
}
