using System.Text.Json.Nodes;
using Fla.Models;
using Fla.Models.Generation;
using Fla.Models.Tokenizers;
using Fla.Models.Training;
using Fla.Vulkan;

namespace Fla.Cli.Training;

/// <summary>
/// Texts that a model writes while it is trained, always from the same prompts and draws, into samples.jsonl. A model that cannot write, or for which there
/// is no memory beside its training, is trained without.
/// </summary>
internal sealed class SampleWriter : IDisposable
{
    /// <summary>Name of the file in the run's folder.</summary>
    public const string FileName = "samples.jsonl";

    private readonly Trainer _trainer;
    private readonly CausalLM _model;
    private readonly TextTokenizer _tokenizer;
    private readonly JsonLinesFile _file;
    private bool _hasFailed;

    /// <summary>Opens the file to append to it.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="trainer">At the step from which the run goes on.</param>
    /// <param name="model">The model that is trained.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    public SampleWriter(string folder, Trainer trainer, CausalLM model, TextTokenizer tokenizer)
    {
        (_trainer, _model, _tokenizer) = (trainer, model, tokenizer);
        // A checkpoint comes after the samples of its step, which are not taken again.
        _file = new(Path.Combine(folder, FileName), trainer.Step + 1);
    }

    /// <summary>Token ids to go on from, at least one of each.</summary>
    public required IReadOnlyList<int[]> Prompts { get; init; }

    /// <summary>At most so many new tokens a text.</summary>
    public int MaxNewTokens { get; init; } = 64;

    /// <summary>Seed of the draws.</summary>
    public ulong Seed { get; init; }

    /// <summary>Told of every text: the step, the prompt, what the model added.</summary>
    public Action<long, string, string> OnSample { get; init; } = (_, _, _) => { };

    /// <summary>Told once why there will be no more texts.</summary>
    public Action<string> OnFailure { get; init; } = _ => { };

    /// <summary>Writes the texts of the step that the trainer is at.</summary>
    public void Write()
    {
        if (_hasFailed) return;
        _trainer.Pause();
        _model.Eval();
        try
        {
            var options = new GenerationOptions { MaxNewTokens = MaxNewTokens, DoSample = true, Temperature = 0.8, TopP = 0.95, Seed = Seed };
            var texts = new Generator(_model).Generate(Prompts, options);
            for (var i = 0; i < texts.Length; i++)
            {
                var (prompt, text) = (_tokenizer.Decode(Prompts[i]), _tokenizer.Decode(texts[i]));
                _file.Write(new() { [JsonLinesFile.StepField] = _trainer.Step, ["prompt"] = prompt, ["text"] = text });
                OnSample(_trainer.Step, prompt, text);
            }
        }
        catch (Exception error) when (error is FlaException and not DeviceLostException or NotSupportedException)
        {
            _hasFailed = true;
            OnFailure(error.Message);
        }
        finally
        {
            _model.Train();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();
}
