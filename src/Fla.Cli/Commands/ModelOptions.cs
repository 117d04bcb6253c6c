using System.CommandLine;
using Fla.Layers;
using Fla.Vulkan;

namespace Fla.Cli.Commands;

/// <summary>Options and arguments that several commands have.</summary>
internal static class ModelOptions
{
    /// <summary>A model folder.</summary>
    public static Argument<string> Folder(string description) => new("DIR") { Description = description };

    /// <summary>Float type of weights and activations.</summary>
    public static Option<DType?> Type(string description)
    {
        var option = new Option<DType?>("--dtype")
        {
            Description = description,
            HelpName = "f32|f16|bf16",
            CustomParser = result =>
            {
                var name = result.Tokens[0].Value;
                try
                {
                    if (DTypes.Parse(name) is var type && type.IsFloat()) return type;
                }
                catch (DTypeException)
                {
                    // The message below says it.
                }
                result.AddError($"--dtype is f32, f16 or bf16, not '{name}'");
                return null;
            },
        };
        return option;
    }

    /// <summary>Form of the recurrences.</summary>
    public static Option<AttnMode?> Mode() => new("--mode")
    {
        Description = "Form of the recurrences (default: each layer's choice by length)",
        HelpName = "chunk|fused_recurrent|fused_chunk",
        CustomParser = result =>
        {
            try
            {
                return AttnModes.Parse(result.Tokens[0].Value);
            }
            catch (ArgumentException)
            {
                result.AddError($"--mode is chunk, fused_recurrent or fused_chunk, not '{result.Tokens[0].Value}'");
                return null;
            }
        },
    };
}
