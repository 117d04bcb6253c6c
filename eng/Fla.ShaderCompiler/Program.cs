// Compiles every variant of every shader under --root with glslc, in parallel and incrementally, into one archive.
//
//   Fla.ShaderCompiler --root shaders/ --cache obj/spirv --out obj/shaders.spvpack [--debug] [--glslc PATH]
//
// A shader names its variants in comment lines:
//   // @variants T=f32|f16|bf16 MM=plain|coopmat     one define per axis and value: T_f32, MM_coopmat
//   // @exclude T=f32 MM=coopmat                      combinations that do not exist
//   // @requires MM=coopmat: cooperative_matrix       compiler features a value needs; such a variant is left out without them
// The archive holds "family/name[T=f16,MM=plain]" -> SPIR-V.
using System.Diagnostics;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;

namespace Fla.ShaderCompiler;

internal static class Program
{
    private static int Main(string[] args)
    {
        var options = Options.Parse(args);
        try
        {
            var compiler = new Glslc(options.Glslc, options.Debug);
            var jobs = Directory.EnumerateFiles(options.Root, "*.comp", SearchOption.AllDirectories)
                .Order(StringComparer.Ordinal)
                .SelectMany(path => ShaderSource.Load(options.Root, path).Variants())
                .ToList();
            var left = jobs.Where(job => !compiler.Supports(job.Requires)).ToList();
            if (left.Count > 0)
            {
                var features = string.Join(", ", left.SelectMany(j => j.Requires).Where(f => !compiler.Supports([f])).Distinct());
                Console.WriteLine($"{options.Glslc} : warning FLA001: this glslc does not know {features}: {left.Count} of {jobs.Count} shader " +
                    "variants are left out, and devices with cooperative matrices will run the slower plain path. Install a newer glslc (shaderc 2025 or later).");
            }
            return new Build(options, compiler).Run(jobs.Except(left).ToList());
        }
        catch (Exception e) when (e is IOException or InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            Console.Error.WriteLine($"{options.Glslc} : error FLA002: {e.Message}");
            return 1;
        }
    }
}

internal sealed record Options(string Root, string Cache, string Out, string Glslc, bool Debug)
{
    public static Options Parse(string[] args)
    {
        string Value(string name, string? fallback = null)
        {
            var i = Array.IndexOf(args, name);
            return i >= 0 && i + 1 < args.Length ? args[i + 1] : fallback ?? throw new ArgumentException($"{name} is missing");
        }
        var glslc = Value("--glslc", Environment.GetEnvironmentVariable("GLSLC") is { Length: > 0 } g ? g : "glslc");
        return new(Path.GetFullPath(Value("--root")), Path.GetFullPath(Value("--cache")), Path.GetFullPath(Value("--out")), glslc, args.Contains("--debug"));
    }
}

internal sealed record Job(string Key, string Path, IReadOnlyList<string> Defines, IReadOnlyList<string> Requires, bool NoOptimizer);

internal sealed record ShaderSource(string Root, string Path, IReadOnlyList<(string Axis, string[] Values)> Axes,
    IReadOnlyList<string[]> Excludes, IReadOnlyList<(string[] When, string[] Features)> Requires)
{
    public static ShaderSource Load(string root, string path)
    {
        var axes = new List<(string, string[])>();
        var excludes = new List<string[]>();
        var requires = new List<(string[], string[])>();
        foreach (var line in File.ReadLines(path))
        {
            var text = line.Trim();
            if (!text.StartsWith("// @", StringComparison.Ordinal)) continue;
            var words = text[4..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            switch (words[0])
            {
                case "variants":
                    axes.AddRange(words[1..].Select(w => w.Split('=')).Select(p => (p[0], p[1].Split('|'))));
                    break;
                case "exclude":
                    excludes.Add(words[1..]);
                    break;
                case "requires":
                    var colon = Array.FindIndex(words, w => w.EndsWith(':'));
                    requires.Add((words[1..(colon + 1)].Select(w => w.TrimEnd(':')).ToArray(), words[(colon + 1)..]));
                    break;
                default:
                    throw new InvalidOperationException($"{path}: unknown directive @{words[0]}");
            }
        }
        return new(root, path, axes, excludes, requires);
    }

    public IEnumerable<Job> Variants()
    {
        var name = System.IO.Path.ChangeExtension(System.IO.Path.GetRelativePath(Root, Path), null).Replace('\\', '/');
        IEnumerable<string[]> picks = [[]];
        foreach (var (axis, values) in Axes)
        {
            picks = picks.SelectMany(p => values.Select(v => p.Append($"{axis}={v}").ToArray()));
        }
        foreach (var pick in picks)
        {
            if (Excludes.Any(e => e.All(pick.Contains))) continue;
            var needs = Requires.Where(r => r.When.All(pick.Contains)).SelectMany(r => r.Features).Distinct().ToList();
            var coopmat = needs.Contains("cooperative_matrix");
            yield return new(pick.Length == 0 ? name : $"{name}[{string.Join(',', pick)}]", Path,
                pick.Select(p => p.Replace('=', '_')).ToList(), needs, coopmat);
        }
    }
}

/// <summary>One glslc and what it can do, found by compiling a line of each.</summary>
internal sealed class Glslc(string path, bool debug)
{
    private static readonly Dictionary<string, string> Probes = new()
    {
        ["cooperative_matrix"] = "#extension GL_KHR_cooperative_matrix : require\n",
        ["bfloat16"] = "#extension GL_EXT_bfloat16 : require\n",
        ["cooperative_matrix2"] = "#extension GL_NV_cooperative_matrix2 : require\n",
    };

    private readonly Dictionary<string, bool> _known = [];

    public string Version { get; } = Capture(path, ["--version"]).Output;

    public bool Supports(IReadOnlyList<string> features) => features.All(feature =>
    {
        if (_known.TryGetValue(feature, out var yes)) return yes;
        if (!Probes.TryGetValue(feature, out var probe)) throw new InvalidOperationException($"unknown compiler feature {feature}");
        var source = "#version 460\n" + probe + "void main() {}\n";
        return _known[feature] = Capture(path, ["--target-env=vulkan1.3", "-fshader-stage=compute", "-o", "-", "-"], source).Exit == 0;
    });

    public IReadOnlyList<string> Arguments(string root, Job job) =>
    [
        "--target-env=vulkan1.3", "-fshader-stage=compute", "-Werror", "-I", root,
        // The optimiser has miscompiled cooperative-matrix shaders, so those keep the front end's code.
        debug ? "-g" : "-O0", .. !debug && !job.NoOptimizer ? new[] { "-O" } : [],
        .. job.Defines.Select(d => $"-D{d}=1"),
    ];

    public (int Exit, string Output) Compile(string root, Job job, string spv, string deps) =>
        Capture(path, [.. Arguments(root, job), "-MD", "-MF", deps, "-o", spv, job.Path]);

    private static (int Exit, string Output) Capture(string file, IReadOnlyList<string> args, string? input = null)
    {
        using var process = new Process { StartInfo = new(file) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true } };
        foreach (var a in args) process.StartInfo.ArgumentList.Add(a);
        try { process.Start(); }
        catch (System.ComponentModel.Win32Exception e) { throw new InvalidOperationException($"cannot run glslc ({e.Message}). Install shaderc's glslc and put it on PATH, or name it in the variable GLSLC."); }
        var error = process.StandardError.ReadToEndAsync();
        if (input != null) process.StandardInput.Write(input);
        process.StandardInput.Close();
        var text = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, error.Result + (text.Length < 4096 ? text : ""));
    }
}

/// <summary>Runs the jobs whose inputs changed and packs all results.</summary>
internal sealed class Build(Options options, Glslc compiler)
{
    public int Run(List<Job> jobs)
    {
        Directory.CreateDirectory(options.Cache);
        var failed = 0;
        var compiled = 0;
        Parallel.ForEach(jobs, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, job =>
        {
            var stem = Stem(job);
            if (IsFresh(job, stem)) return;
            var (exit, output) = compiler.Compile(options.Root, job, stem + ".spv.tmp", stem + ".d");
            Interlocked.Increment(ref compiled);
            if (exit != 0)
            {
                Interlocked.Increment(ref failed);
                Console.WriteLine($"{output.Trim()}\n{job.Path} : error FLA003: variant {job.Key} does not compile");
                return;
            }
            File.Move(stem + ".spv.tmp", stem + ".spv", overwrite: true);
            File.WriteAllText(stem + ".key", Fingerprint(job, stem));
        });
        if (failed > 0) return 1;
        if (compiled > 0) Console.WriteLine($"shaders: {compiled} of {jobs.Count} variants compiled");
        Pack(jobs);
        return 0;
    }

    private string Stem(Job job) => Path.Combine(options.Cache, Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(job.Key)))[..24]);

    private bool IsFresh(Job job, string stem) =>
        File.Exists(stem + ".spv") && File.Exists(stem + ".key") && File.Exists(stem + ".d") && File.ReadAllText(stem + ".key") == Fingerprint(job, stem);

    /// <summary>Everything a result depends on: compiler, flags, and the content of each file read.</summary>
    private string Fingerprint(Job job, string stem)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes(compiler.Version + string.Join(' ', compiler.Arguments("", job))));
        var deps = File.ReadAllText(stem + ".d").Replace("\\\n", " ");
        foreach (var file in deps[(deps.IndexOf(": ", StringComparison.Ordinal) + 2)..].Split([' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries))
        {
            if (!File.Exists(file)) return "gone";
            hash.AppendData(File.ReadAllBytes(file));
        }
        return Convert.ToHexString(hash.GetHashAndReset());
    }

    private void Pack(List<Job> jobs)
    {
        using (var archive = new ZipArchive(File.Create(options.Out + ".tmp"), ZipArchiveMode.Create))
        {
            foreach (var job in jobs)
            {
                var entry = archive.CreateEntry(job.Key, CompressionLevel.Fastest);
                entry.LastWriteTime = new DateTimeOffset(1980, 1, 1, 0, 0, 0, TimeSpan.Zero);
                using var stream = entry.Open();
                stream.Write(File.ReadAllBytes(Stem(job) + ".spv"));
            }
        }
        File.Move(options.Out + ".tmp", options.Out, overwrite: true);
    }
}
