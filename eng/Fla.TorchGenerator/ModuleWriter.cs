using System.Reflection;
using System.Text;
using Fla.Layers;
using Fla.Vulkan;
using Module = Fla.Layers.Module;

namespace Fla.TorchGenerator;

/// <summary>Layers and fused modules as nn.Modules, in the namespace Fla.Torch.Modules: constructors in fla's spelling over the one adapter.</summary>
internal static class ModuleWriter
{
    private static readonly NullabilityInfoContext Nullability = new();

    /// <summary>Layers that TorchSharp has itself, under the same names.</summary>
    private static readonly Type[] TorchSharps = [typeof(Embedding), typeof(Linear)];

    /// <summary>Appends the namespace.</summary>
    public static void Write(StringBuilder text)
    {
        text.Append("\nnamespace Fla.Torch.Modules\n{\n");
        foreach (var type in typeof(Module).Assembly.GetExportedTypes().Where(t => t.IsSubclassOf(typeof(Module)) && !t.IsAbstract).OrderBy(t => t.Name, StringComparer.Ordinal))
        {
            var arguments = Arguments(type, out var create);
            var adapter = Adapter(type);
            if (TorchSharps.Contains(type)) text.Append($"    // {type.Name} is TorchSharp's own.\n\n");
            else if (arguments == null || adapter == null) text.Append($"    // {type.Name} has no counterpart: it is made of, or runs on, more than tensors and settings.\n\n");
            else WriteClass(text, type, arguments, create, adapter.Value);
        }
        text.Append("}\n");
    }

    private static void WriteClass(StringBuilder text, Type type, List<Argument> arguments, string create, (string Base, string Forward) adapter)
    {
        text.Append(Docs.Tag("    ", "summary", null, Docs.Summary($"T:{type.FullName}", type.Assembly)));
        text.Append($"    public sealed class {type.Name} : {adapter.Base}\n    {{\n");
        text.Append(Docs.Tag("        ", "summary", null, "A module with fresh parameters on the current device."));
        foreach (var argument in arguments) text.Append(Docs.Tag("        ", "param", argument.Name, argument.Summary));
        text.Append(Docs.Tag("        ", "param", "dtype", "Float type of parameters and activations."));
        var declared = string.Join(", ", arguments.OrderBy(a => a.Default != null).Select(a => $"{a.Type} {a.Name}{(a.Default is null ? "" : $" = {a.Default}")}")
            .Append("global::TorchSharp.torch.ScalarType dtype = global::TorchSharp.torch.ScalarType.Float32"));
        text.Append($"        public {type.Name}({declared})\n            : base((device, type) => {create}, {adapter.Forward}dtype)\n        {{\n        }}\n    }}\n\n");
    }

    /// <summary>The base class and how it runs the module; null for a module that needs more than tensors.</summary>
    private static (string Base, string Forward)? Adapter(Type type)
    {
        var name = $"global::{type.FullName}";
        if (type.GetMethod("Forward", [typeof(Tensor), typeof(MixerContext)]) != null) return ($"TorchMixer<{name}>", "(module, x, context) => module.Forward(x, context), ");
        foreach (var method in type.GetMethods().Where(m => m.Name == "Forward").OrderBy(m => m.GetParameters().Length))
        {
            var isTuple = method.ReturnType.Name.StartsWith("ValueTuple", StringComparison.Ordinal) && method.ReturnType.GenericTypeArguments[0] == typeof(Tensor)
                && method.GetParameters().Any(p => p.Name!.StartsWith("output", StringComparison.Ordinal));
            if (method.ReturnType != typeof(Tensor) && !isTuple) continue;
            var needed = method.GetParameters().Where(p => !p.HasDefaultValue).ToList();
            if (needed.Any(p => p.ParameterType != typeof(Tensor)) || needed.Count is 0 or > 2) continue;
            var inputs = string.Join(", ", needed.Select((_, i) => $"x{i}"));
            return ($"TorchModule{(needed.Count == 2 ? "2" : "")}<{name}>", $"(module, {inputs}) => module.Forward({inputs}){(isTuple ? ".Item1" : "")}, ");
        }
        return null;
    }

    /// <summary>The settings of a module, and the expression that makes one; null when a setting has no counterpart.</summary>
    private static List<Argument>? Arguments(Type type, out string create)
    {
        create = "";
        foreach (var constructor in type.GetConstructors())
        {
            var parameters = constructor.GetParameters();
            if (parameters.Length < 1 || parameters[0].ParameterType != typeof(ComputeDevice)) continue;
            var hasType = parameters.Any(p => p.ParameterType == typeof(DType));
            // How fresh values are drawn is the default's business.
            var settings = parameters[1..].Where(p => p.ParameterType != typeof(DType) && p.ParameterType != typeof(WeightRule)).ToList();
            var head = $"new global::{type.FullName}(device";
            var tail = hasType ? $", {parameters.First(p => p.ParameterType == typeof(DType)).Name}: type)" : ")";
            if (settings is [{ ParameterType: { IsClass: true, Namespace: "Fla.Layers" } options }])
            {
                if (Options(options) is not { } own) continue;
                create = $"{head}, new global::{options.FullName} {{ {string.Join(", ", own.Select(a => $"{a.Target} = {a.Name}"))} }}{tail}";
                return own;
            }
            var all = settings.Select(p => Names.Plain(p.ParameterType, Nullability.Create(p).ReadState == NullabilityState.Nullable) is { } plain
                ? new Argument(p.Name!, Names.Escape(Names.Snake(p.Name!)), plain, p.HasDefaultValue ? Names.Literal(p.DefaultValue, p.ParameterType) : null, Docs.Parameter(constructor, p.Name!)) : null).ToList();
            if (all.Contains(null)) continue;
            create = $"{head}{string.Concat(all.Select(a => $", {Names.Escape(a!.Target)}: {a.Name}"))}{tail}";
            return all!;
        }
        return null;
    }

    /// <summary>The settable properties of an options record, with the values that a fresh one has; null when one must be set that has no counterpart.</summary>
    private static List<Argument>? Options(Type type)
    {
        var fresh = Activator.CreateInstance(type);
        var arguments = new List<Argument>();
        foreach (var property in type.GetProperties().Where(p => p.SetMethod is { IsPublic: true }).OrderBy(p => Depth(p.DeclaringType!)))
        {
            var isNullable = Nullability.Create(property).ReadState == NullabilityState.Nullable;
            if (Names.Plain(property.PropertyType, isNullable) is not { } plain)
            {
                if (property.IsDefined(typeof(System.Runtime.CompilerServices.RequiredMemberAttribute))) return null;
                continue;
            }
            var summary = Docs.Summary($"P:{property.DeclaringType!.FullName}.{property.Name}", property.DeclaringType.Assembly);
            arguments.Add(new(property.Name, Names.Escape(Names.Snake(property.Name)), plain, Names.Literal(property.GetValue(fresh), property.PropertyType), summary));
        }
        return arguments;
    }

    /// <summary>Settings that all layers have come first.</summary>
    private static int Depth(Type type) => type.BaseType is { } above ? Depth(above) + 1 : 0;

    /// <summary>A setting.</summary>
    /// <param name="Target">Its name in the library.</param>
    /// <param name="Name">Its name here.</param>
    /// <param name="Type">Its type.</param>
    /// <param name="Default">Its default as C# writes it; null when it has none.</param>
    /// <param name="Summary">What it is.</param>
    private sealed record Argument(string Target, string Name, string Type, string? Default, string Summary);
}
