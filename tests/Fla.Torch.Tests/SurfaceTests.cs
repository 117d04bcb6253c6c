using System.Reflection;
using System.Runtime.CompilerServices;
using Fla.Layers;
using Fla.Vulkan.Ops;
using NUnit.Framework;
using DeviceTensor = Fla.Vulkan.Tensor;
using Module = Fla.Layers.Module;

namespace Fla.Torch.Tests;

/// <summary>What the libraries have and TorchSharp is given, member by member: what is missing is missing for a reason that is written here.</summary>
public sealed class SurfaceTests
{
    private const string TorchSharps = "TorchSharp has its own, and a crossing costs more than the work";
    private const string Inside = "a part of others, which have it inside";

    private static readonly Dictionary<Type, string> LeftOutFamilies = new()
    {
        [typeof(Activations)] = TorchSharps, [typeof(Elementwise)] = TorchSharps, [typeof(Softmaxes)] = TorchSharps, [typeof(Reductions)] = TorchSharps,
        [typeof(Products)] = TorchSharps, [typeof(Embeddings)] = TorchSharps, [typeof(Layouts)] = TorchSharps, [typeof(Transposes)] = TorchSharps,
        [typeof(RandomTensors)] = TorchSharps, [typeof(Sampling)] = TorchSharps, [typeof(Rows)] = TorchSharps,
        [typeof(DecodeProducts)] = "for decoding steps, without gradients",
        [typeof(Gradients)] = "TorchSharp's clip_grad_norm_", [typeof(Optimizers)] = "TorchSharp's optimizers", [typeof(LossScaling)] = "TorchSharp's GradScaler",
    };

    private static readonly Dictionary<Type, string> LeftOutModules = new()
    {
        [typeof(Linear)] = TorchSharps, [typeof(Embedding)] = TorchSharps, [typeof(LowRank)] = Inside, [typeof(ElementwiseFeatureMap)] = Inside,
        [typeof(RotaryEmbedding)] = "has no parameters: fla.rotary",
    };

    private static readonly Dictionary<string, string> LeftOutOperators = new()
    {
        [nameof(DeltaOps.FusedRecurrentKdaFwd)] = "for serving: it writes to a pool of states in place, which has no meaning for tensors that cross",
    };

    private static readonly Dictionary<string, string> LeftOutParameters = new()
    {
        ["finalState"] = "where a result is written in place",
    };

    private static readonly Dictionary<Type, string> LeftOutArguments = new()
    {
        [typeof(LowRankGate)] = "for decoding steps, without gradients: the gate is made before the operator",
    };

    private static IEnumerable<Type> Families => typeof(LinearOps).Assembly.GetExportedTypes().Where(t => t is { Namespace: "Fla.Vulkan.Ops", IsAbstract: true, IsSealed: true });

    [Test]
    public void EveryOperatorAndLossIsThereWithAllItsTensors()
    {
        var given = typeof(fla).GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly).ToLookup(m => Plain(m.Name));
        var missing = new List<string>();
        foreach (var method in Families.Where(t => !LeftOutFamilies.ContainsKey(t)).SelectMany(t => t.GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly)))
        {
            // A decoding step overwrites the state that it is given, which has no meaning for a tensor that crosses.
            if (LeftOutOperators.ContainsKey(method.Name) || method.GetParameters().Any(p => LeftOutArguments.ContainsKey(p.ParameterType)) || method.Name.EndsWith("Step", StringComparison.Ordinal) || method.IsDefined(typeof(ObsoleteAttribute)) || !IsOperator(method)) continue;
            var own = method.DeclaringType!.Name;
            string[] names = method.Name == "Apply" ? [Plain(own)] : own == nameof(FusedLinearLosses) ? ["fusedlinear" + Plain(method.Name)] : [Plain(method.Name)];
            var wanted = method.GetParameters().Where(p => !LeftOutParameters.ContainsKey(p.Name!)).Select(p => Plain(p.Name!)).ToList();
            if (!names.SelectMany(name => given[name]).Any(m => wanted.SequenceEqual(m.GetParameters().Select(p => Plain(p.Name!))))) missing.Add($"{own}.{method.Name}({string.Join(", ", wanted)})");
        }
        Assert.That(missing, Is.Empty);
    }

    [Test]
    public void EveryLayerAndFusedModuleIsThere()
    {
        var given = typeof(fla).Assembly.GetExportedTypes().Where(t => t.Namespace == "Fla.Torch.Modules").Select(t => t.Name).ToHashSet();
        var all = typeof(Module).Assembly.GetExportedTypes().Where(t => t.IsSubclassOf(typeof(Module)) && !t.IsAbstract).ToList();
        Assert.That(all.Where(t => !LeftOutModules.ContainsKey(t) && !given.Contains(t.Name)), Is.Empty);
        Assert.That(all.Where(t => LeftOutModules.ContainsKey(t) && given.Contains(t.Name)), Is.Empty, "left out and yet there");
    }

    [Test]
    public void EverySettingOfALayerIsThere()
    {
        var missing = new List<string>();
        foreach (var options in typeof(MixerOptions).Assembly.GetExportedTypes().Where(t => t.IsSubclassOf(typeof(MixerOptions)) && !t.IsAbstract))
        {
            var layer = typeof(fla).Assembly.GetType($"Fla.Torch.Modules.{options.Name[..^"Options".Length]}");
            var given = layer?.GetConstructors().Single().GetParameters().Select(p => Plain(p.Name!)).ToHashSet() ?? [];
            missing.AddRange(options.GetProperties().Where(p => p.SetMethod is { IsPublic: true } && !given.Contains(Plain(p.Name))).Select(p => $"{options.Name}.{p.Name}"));
        }
        Assert.That(missing, Is.Empty);
    }

    /// <summary>Whether a method makes tensors of tensors.</summary>
    private static bool IsOperator(MethodInfo method)
    {
        var type = method.ReturnType;
        var isTensor = type == typeof(DeviceTensor) || type == typeof(DeviceTensor[])
            || (type.IsAssignableTo(typeof(ITuple)) && type.IsGenericType && type.GenericTypeArguments.All(t => t == typeof(DeviceTensor)));
        return isTensor && method.GetParameters().Any(p => p.ParameterType == typeof(DeviceTensor));
    }

    private static string Plain(string name) => name.Replace("_", "", StringComparison.Ordinal).ToLowerInvariant();
}
