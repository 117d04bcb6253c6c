using System.Diagnostics;
using NUnit.Framework;

namespace Fla.Vulkan.Tests;

/// <summary>The packed library, consumed as a stranger would: from a folder feed, by a project of its own.</summary>
public sealed class PackageTests
{
    private const string Program = """
        using Fla.Vulkan;

        using var device = ComputeDevice.Create();
        using var x = Tensor.From(device, [1, 2, 3], [3]);
        using var half = x.To(DType.Float16);
        half.Accumulate(x, 2);
        Console.WriteLine(string.Join(" ", half.ToSingle()));
        """;

    [Test]
    public void AProjectRunsOnThePackageFromAFolderFeed()
    {
        var root = RepositoryRoot();
        if (root == null) Assert.Ignore("only the published tests are here, not the repository that would be packed");
        if (Dotnet(root!, "--list-sdks").Length == 0) Assert.Ignore("there is no .NET SDK here to pack with");
        var folder = Directory.CreateTempSubdirectory("fla-package").FullName;
        try
        {
            var feed = Path.Combine(folder, "feed");
            Dotnet(root!, "pack", Path.Combine(root!, "src/Fla.Vulkan/Fla.Vulkan.csproj"), "-c", "Release", "--no-build", "-o", feed);
            var package = Directory.GetFiles(feed, "Fla.Vulkan.*.nupkg").Single();
            var version = Path.GetFileNameWithoutExtension(package)["Fla.Vulkan.".Length..];
            var cache = Environment.GetEnvironmentVariable("NUGET_PACKAGES")
                ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
            var consumer = Directory.CreateDirectory(Path.Combine(folder, "consumer")).FullName;
            File.WriteAllText(Path.Combine(consumer, "Program.cs"), Program);
            File.WriteAllText(Path.Combine(consumer, "consumer.csproj"), $"""
                <Project Sdk="Microsoft.NET.Sdk">
                  <PropertyGroup>
                    <OutputType>Exe</OutputType>
                    <TargetFramework>net10.0</TargetFramework>
                    <ImplicitUsings>enable</ImplicitUsings>
                    <InvariantGlobalization>true</InvariantGlobalization>
                    <RestoreSources>{feed}</RestoreSources>
                    <RestoreFallbackFolders>{cache}</RestoreFallbackFolders>
                    <RestorePackagesPath>{Path.Combine(folder, "packages")}</RestorePackagesPath>
                    <NuGetAudit>false</NuGetAudit>
                  </PropertyGroup>
                  <ItemGroup>
                    <PackageReference Include="Fla.Vulkan" Version="{version}" />
                  </ItemGroup>
                </Project>
                """);
            var output = Dotnet(consumer, "run", "-c", "Release");
            Assert.That(output.Trim().Split('\n')[^1].Trim(), Is.EqualTo("3 6 9"), output);
        }
        finally { Directory.Delete(folder, recursive: true); }
    }

    private static string? RepositoryRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder != null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Fla.sln"))) return folder.FullName;
        }
        return null;
    }

    private static string Dotnet(string folder, params string[] arguments)
    {
        using var process = new Process
        {
            StartInfo = new("dotnet", arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true },
        };
        // The test host's own settings are not the consumer's.
        foreach (var name in new[] { "MSBUILD_EXE_PATH", "MSBuildSDKsPath", "MSBuildExtensionsPath", "FLA_VALIDATION" }) process.StartInfo.Environment.Remove(name);
        process.Start();
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.Zero, $"dotnet {string.Join(' ', arguments)}\n{output}\n{error.Result}");
        return output;
    }
}
