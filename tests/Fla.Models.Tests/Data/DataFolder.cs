using Fla.Models.Data;
using NUnit.Framework;

namespace Fla.Models.Tests.Data;

/// <summary>Tests with a folder of their own for files.</summary>
public abstract class DataFolder
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("fla-data-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    protected string In(string name) => Path.Combine(_folder, name);

    protected string Write(string name, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(In(name))!);
        File.WriteAllText(In(name), text);
        return In(name);
    }

    /// <summary>Documents of tokens that tell where they stand: document d of n tokens holds 1000 d, 1000 d + 1, …</summary>
    protected TokenFile Numbered(string name, params ReadOnlySpan<int> lengths)
    {
        using (var writer = new TokenFileWriter(In(name), 1_000_000))
        {
            for (var d = 0; d < lengths.Length; d++)
            {
                for (var i = 0; i < lengths[d]; i++) writer.Add([1000 * d + i]);
                writer.EndDocument();
            }
            writer.Finish();
        }
        return TokenFile.Open(In(name));
    }
}
