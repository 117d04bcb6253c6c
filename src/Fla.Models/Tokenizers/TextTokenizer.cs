namespace Fla.Models.Tokenizers;

/// <summary>Turns text into token ids and back. Instances can be used from several threads.</summary>
public abstract class TextTokenizer
{
    /// <summary>Name of the tokenizer's file in a model folder.</summary>
    public const string FileName = "tokenizer.json";

    private static readonly string[] OtherFormats =
    [
        "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt", "merges.txt", "rwkv_vocab_v20230424.txt",
    ];

    /// <summary>One more than the largest id.</summary>
    public abstract int VocabSize { get; }

    /// <summary>Id of the token that begins a text, or null when the tokenizer does not name one.</summary>
    public abstract int? BosId { get; }

    /// <summary>Id of the token that ends a text, or null when the tokenizer does not name one.</summary>
    public abstract int? EosId { get; }

    /// <summary>Id of the token that fills up shorter texts of a batch, or null when the tokenizer does not name one.</summary>
    public abstract int? PadId { get; }

    /// <summary>
    /// The tokenizer of a model folder: its tokenizer.json (and the names of special tokens in tokenizer_config.json), or bytes when the folder
    /// has no tokenizer at all.
    /// </summary>
    /// <exception cref="TokenizerException">
    /// A malformed file, a part that would not be honoured exactly, or a tokenizer in another format only.
    /// </exception>
    public static TextTokenizer Load(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        var path = Path.Combine(folder, FileName);
        if (File.Exists(path))
        {
            return TokenizerJsonReader.Load(path);
        }

        foreach (var name in OtherFormats)
        {
            if (File.Exists(Path.Combine(folder, name)))
            {
                throw new TokenizerException($"this format is not read; save the tokenizer as {FileName}", file: Path.Combine(folder, name));
            }
        }

        return new ByteTokenizer();
    }

    /// <summary>True when every id means the same as in another tokenizer.</summary>
    public bool HasVocabularyOf(TextTokenizer other)
    {
        ArgumentNullException.ThrowIfNull(other);
        if (VocabSize != other.VocabSize || (BosId, EosId, PadId) != (other.BosId, other.EosId, other.PadId)) return false;
        for (var id = 0; id < VocabSize; id++)
        {
            var isKnown = TryDecode(id, isFirst: false, skipSpecialTokens: false, out var mine);
            if (isKnown != other.TryDecode(id, isFirst: false, skipSpecialTokens: false, out var theirs) || !mine.SequenceEqual(theirs)) return false;
        }
        return true;
    }

    /// <summary>Token ids of a text.</summary>
    /// <param name="text">The text; lone surrogates become U+FFFD.</param>
    /// <param name="addSpecialTokens">Whether to add what the tokenizer puts around a text, such as a first token.</param>
    /// <exception cref="TokenizerException">The text needs something that this process does not have: see the message.</exception>
    public abstract int[] Encode(string text, bool addSpecialTokens = true);

    /// <summary>Text of token ids; bytes that are not UTF-8 become U+FFFD, ids outside the vocabulary are skipped.</summary>
    /// <param name="ids">Token ids.</param>
    /// <param name="skipSpecialTokens">Whether special tokens leave no trace.</param>
    public abstract string Decode(IEnumerable<int> ids, bool skipSpecialTokens = true);

    /// <summary>Decodes one token after the other, as they are generated.</summary>
    /// <param name="skipSpecialTokens">Whether special tokens leave no trace.</param>
    public StreamDecoder CreateStreamDecoder(bool skipSpecialTokens = true) => new(this, skipSpecialTokens);

    /// <summary>Bytes that a token adds to a text; false when the token is skipped, being special or outside the vocabulary.</summary>
    /// <param name="id">Token id.</param>
    /// <param name="isFirst">Whether no token before was decoded.</param>
    /// <param name="skipSpecialTokens">Whether special tokens are skipped.</param>
    /// <param name="bytes">The bytes; some tokenizers drop a leading space of the first token.</param>
    internal abstract bool TryDecode(int id, bool isFirst, bool skipSpecialTokens, out ReadOnlySpan<byte> bytes);
}
