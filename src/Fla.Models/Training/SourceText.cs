using System.Text;
using Fla.Models.Tokenizers;

namespace Fla.Models.Training;

/// <summary>Text files as one stream of tokens: each is a document, begun by the tokenizer's first token where it has one.</summary>
public static class SourceText
{
    /// <summary>Tokens of files, one after the other.</summary>
    /// <param name="files">Paths, in the order in which they are read.</param>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <exception cref="TrainingException">A file is no UTF-8 text.</exception>
    /// <exception cref="IOException">A file cannot be read.</exception>
    public static int[] Tokens(IEnumerable<string> files, TextTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(files);
        ArgumentNullException.ThrowIfNull(tokenizer);
        var strict = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
        var tokens = new List<int>();
        foreach (var file in files)
        {
            try
            {
                tokens.AddRange(tokenizer.Encode(File.ReadAllText(file, strict)));
            }
            catch (DecoderFallbackException error)
            {
                throw new TrainingException($"{file} is no text: a byte that is not UTF-8 after {error.Index} characters");
            }
        }
        return [.. tokens];
    }
}
