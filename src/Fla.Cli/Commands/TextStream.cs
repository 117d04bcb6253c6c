using System.Text;
using Fla.Models.Tokenizers;

namespace Fla.Cli.Commands;

/// <summary>Writes texts while they are generated: the first one live, the others of a batch after it.</summary>
/// <param name="terminal">Where to.</param>
/// <param name="tokenizer">Turns tokens into text; null writes ids.</param>
/// <param name="prompts">Texts that are continued, written before their continuation; null for none.</param>
internal sealed class TextStream(Terminal terminal, TextTokenizer? tokenizer, IReadOnlyList<string>? prompts)
{
    private readonly Dictionary<int, (StreamDecoder? Decoder, StringBuilder Text)> _rows = [];

    /// <summary>Adds a token to a text.</summary>
    public void Push(int row, int token)
    {
        var (decoder, text) = Row(row);
        var piece = decoder == null ? $"{token} " : decoder.Push(token);
        if (row == 0) Write(piece);
        else text.Append(piece);
    }

    /// <summary>Ends all texts.</summary>
    public void Finish()
    {
        for (var row = 0; row < Math.Max(prompts?.Count ?? 0, _rows.Keys.DefaultIfEmpty(-1).Max() + 1); row++)
        {
            var (decoder, text) = Row(row);
            Write(text + decoder?.Finish() + Environment.NewLine);
        }
    }

    private (StreamDecoder? Decoder, StringBuilder Text) Row(int row)
    {
        if (_rows.TryGetValue(row, out var found)) return found;
        var text = new StringBuilder();
        if (row > 0) text.AppendLine();
        if (prompts != null && row == 0) Write(prompts[0]);
        else if (prompts != null) text.Append(prompts[row]);
        return _rows[row] = (tokenizer?.CreateStreamDecoder(), text);
    }

    private void Write(string text)
    {
        terminal.Writer.Write(text);
        terminal.Writer.Flush();
    }
}
