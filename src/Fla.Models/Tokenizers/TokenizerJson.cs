using System.Text;

namespace Fla.Models.Tokenizers;

/// <summary>A byte-pair-encoding tokenizer as tokenizer.json describes it.</summary>
internal sealed class TokenizerJson : TextTokenizer
{
    private readonly BpeModel _model;
    private readonly AddedTokens _added;
    private readonly Func<string, string>? _normalize;
    private readonly PreTokenize? _preTokenize;
    private readonly PostProcessor _postProcessor;
    private readonly TokenSpeller _speller;
    private readonly Dictionary<int, string> _tokens;

    /// <summary>Reads and validates the root of tokenizer.json.</summary>
    /// <param name="root">The root.</param>
    /// <param name="names">Texts of the bos, eos and pad tokens, where they are known.</param>
    public TokenizerJson(TokenizerPart root, SpecialNames names)
    {
        _model = new BpeModel(root["model"]);
        _normalize = Normalizers.Read(root["normalizer"]);
        _preTokenize = PreTokenizers.Read(root["pre_tokenizer"]);
        _postProcessor = PostProcessor.Read(root["post_processor"]);
        _speller = new TokenSpeller(root["decoder"]);
        _added = new AddedTokens(root["added_tokens"], _model.Vocabulary, _normalize is not null);
        _tokens = _model.Vocabulary.ToDictionary(entry => entry.Value, entry => entry.Key);
        VocabSize = _tokens.Keys.Concat(_added.Ids).Max() + 1;
        foreach (var id in _postProcessor.Before.Concat(_postProcessor.After))
        {
            if (!_tokens.ContainsKey(id) && !_added.Ids.Contains(id))
            {
                throw root["post_processor"].Error($"id {id} is not in the vocabulary");
            }
        }

        names.CheckAgainst(_postProcessor);
        BosId = Find(names.Bos);
        EosId = Find(names.Eos);
        PadId = Find(names.Pad);
    }

    /// <inheritdoc/>
    public override int VocabSize { get; }

    /// <inheritdoc/>
    public override int? BosId { get; }

    /// <inheritdoc/>
    public override int? EosId { get; }

    /// <inheritdoc/>
    public override int? PadId { get; }

    /// <inheritdoc/>
    public override int[] Encode(string text, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        text = text.Any(char.IsSurrogate) ? Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text)) : text;
        var ids = new List<int>(addSpecialTokens ? _postProcessor.Before : []);
        var atStart = true;
        foreach (var (piece, id) in _added.Cut(text))
        {
            if (id is { } token)
            {
                ids.Add(token);
            }
            else
            {
                EncodePiece(piece, atStart, ids);
            }

            atStart = false;
        }

        if (addSpecialTokens)
        {
            ids.AddRange(_postProcessor.After);
        }

        return [.. ids];
    }

    /// <inheritdoc/>
    public override string Decode(IEnumerable<int> ids, bool skipSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(ids);
        return _speller.Decode(ids.Select(id => TokenOf(id, skipSpecialTokens)).OfType<string>());
    }

    internal override bool TryDecode(int id, bool isFirst, bool skipSpecialTokens, out ReadOnlySpan<byte> bytes)
    {
        var token = TokenOf(id, skipSpecialTokens);
        bytes = token is null ? [] : _speller.BytesOf(token, isFirst);
        return token is not null;
    }

    private void EncodePiece(string piece, bool atStart, List<int> ids)
    {
        var text = _normalize?.Invoke(piece) ?? piece;
        if (text.Length == 0)
        {
            return;
        }

        foreach (var word in _preTokenize?.Invoke([text], atStart) ?? [text])
        {
            _model.Encode(word, ids);
        }
    }

    private string? TokenOf(int id, bool skipSpecialTokens)
    {
        if (_added.TryGet(id, out var content, out var isSpecial))
        {
            return isSpecial && skipSpecialTokens ? null : content;
        }

        return _tokens.GetValueOrDefault(id);
    }

    private int? Find(string? token)
        => token is null ? null : _added.Find(token) ?? (_model.Vocabulary.TryGetValue(token, out var id) ? id : null);
}
