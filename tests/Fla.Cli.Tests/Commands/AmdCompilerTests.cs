using System.Diagnostics;
using NUnit.Framework;

namespace Fla.Cli.Tests.Commands;

/// <summary>Every shader through AMD's compiler: RADV's null device compiles for a card that is not there. The driver's JSON file is named by FLA_RADV_ICD.</summary>
public sealed class AmdCompilerTests
{
    /// <summary>Shaders known to spill, with how many registers: a line "family shader spills" each, as in the file beside this one.</summary>
    private static readonly string Baseline = Path.Combine(AppContext.BaseDirectory, "Commands", "amd-spills.tsv");

    [TestCase("navi31", Description = "RDNA3: cooperative matrices, subgroups of 32")]
    [TestCase("vega10", Description = "GCN: subgroups of 64")]
    public void EveryShaderCompilesWithoutNewSpills(string family)
    {
        var icd = Environment.GetEnvironmentVariable("FLA_RADV_ICD");
        if (string.IsNullOrEmpty(icd)) Assert.Ignore("no RADV with a null device here (FLA_RADV_ICD): shaders were not compiled for AMD");
        using var process = new Process
        {
            StartInfo = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "fla.dll"), "shaders"]) { RedirectStandardOutput = true, RedirectStandardError = true },
        };
        process.StartInfo.Environment["VK_DRIVER_FILES"] = icd;
        process.StartInfo.Environment["RADV_FORCE_FAMILY"] = family;
        process.StartInfo.Environment.Remove("FLA_VALIDATION");
        process.StartInfo.Environment.Remove("FLA_DEVICE");
        process.Start();
        var error = process.StandardError.ReadToEndAsync();
        var lines = process.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries).Skip(1).Select(l => l.Split('\t')).ToList();
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.Zero, $"{error.Result}\n{string.Join('\n', lines.Where(l => l[2].StartsWith("error", StringComparison.Ordinal)).Select(l => string.Join(' ', l)))}");
        Assert.That(lines, Is.Not.Empty);
        Assert.That(lines.Select(l => l[2]), Is.All.Contains("VGPRs="), "the compiler tells registers");

        var allowed = File.ReadLines(Baseline).Where(l => !l.StartsWith('#')).Select(l => l.Split('\t')).Where(l => l[0] == family)
            .ToDictionary(l => l[1], l => double.Parse(l[2]));
        var worse = lines.Where(l => double.Parse(l[1]) > allowed.GetValueOrDefault(l[0])).Select(l => $"{family}\t{l[0]}\t{l[1]}").ToList();
        Assert.That(worse, Is.Empty, "registers spilled that were not spilled before:\n" + string.Join('\n', worse));
    }
}
