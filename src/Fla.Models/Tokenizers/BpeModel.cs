using System.Text;
using Microsoft.ML.Tokenizers;

namespace Fla.Models.Tokenizers;

/// <summary>
/// The <c>model</c> of a byte-pair-encoding tokenizer.json (Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units",
/// 2016): merges through Microsoft.ML.Tokenizers; around it, what that library treats differently from the file's own.
/// </summary>
internal sealed class BpeModel
{
    private readonly Dictionary<string, int> _vocabulary = new(StringComparer.Ordinal);
    private readonly HashSet<(char, char)> _joined = [];
    private readonly BpeTokenizer _merger;
    private readonly int[]? _byteIds;
    private readonly int? _unknownId;
    private readonly bool _fuseUnknown;
    private readonly bool _ignoreMerges;

    /// <summary>Reads and validates the component.</summary>
    /// <exception cref="TokenizerException">Not byte-pair encoding, malformed, or with a part that would not be honoured exactly.</exception>
    public BpeModel(TokenizerPart part)
    {
        if (!part["type"].IsNull ? part.Type != "BPE" : part["merges"].IsNull)
        {
            throw part.Unsupported(part["type"].IsNull ? "a model without a type" : $"the model {part.Type}");
        }

        foreach (var name in (ReadOnlySpan<string>)["continuing_subword_prefix", "end_of_word_suffix"])
        {
            if (!string.IsNullOrEmpty(part[name].StringOrNull()))
            {
                throw part[name].Unsupported($"'{part[name].String()}'");
            }
        }

        if (!part["dropout"].IsNull)
        {
            throw part["dropout"].Unsupported("dropout");
        }

        _fuseUnknown = part["fuse_unk"].Bool(absent: false);
        _ignoreMerges = part["ignore_merges"].Bool(absent: false);
        ReadVocabulary(part["vocab"]);
        var merges = ReadMerges(part["merges"]);
        if (part["byte_fallback"].Bool(absent: false))
        {
            _byteIds = [.. Enumerable.Range(0, 256).Select(value => FindByte(part["byte_fallback"], value))];
        }

        if (part["unk_token"].StringOrNull() is { } unknown)
        {
            _unknownId = _vocabulary.TryGetValue(unknown, out var id) ? id : throw part["unk_token"].Error($"'{unknown}' is not in the vocabulary");
        }

        _merger = BpeTokenizer.Create(new BpeOptions(_vocabulary) { Merges = merges });
    }

    /// <summary>Ids by token.</summary>
    public IReadOnlyDictionary<string, int> Vocabulary => _vocabulary;

    /// <summary>Adds the ids of one pre-tokenized word.</summary>
    public void Encode(string word, List<int> ids)
    {
        if (_ignoreMerges && _vocabulary.TryGetValue(word, out var whole))
        {
            ids.Add(whole);
            return;
        }

        var start = 0;
        var afterUnknown = false;
        for (var i = 0; i < word.Length;)
        {
            var rune = Rune.GetRuneAt(word, i);
            var next = i + rune.Utf16SequenceLength;
            var isKnown = _vocabulary.TryGetValue(word[i..next], out var id);
            if (!isKnown || !rune.IsBmp)
            {
                // The merging library looks at UTF-16 units and skips unknown ones: it gets runs of known ones only.
                Merge(word, start, i, ids);
                start = next;
                afterUnknown = isKnown ? AddWhole(id, ids) : AddUnknown(rune, afterUnknown, ids);
            }
            else
            {
                afterUnknown = false;
                if (i > start && !_joined.Contains((word[i - 1], word[i])))
                {
                    // No merge reaches across; shorter words are found again in the library's cache, and take less than quadratic time.
                    Merge(word, start, i, ids);
                    start = i;
                }
            }

            i = next;
        }

        Merge(word, start, word.Length, ids);
    }

    private static bool AddWhole(int id, List<int> ids)
    {
        ids.Add(id);
        return false;
    }

    private bool AddUnknown(Rune rune, bool afterUnknown, List<int> ids)
    {
        if (_byteIds is not null)
        {
            Span<byte> bytes = stackalloc byte[4];
            foreach (var value in bytes[..rune.EncodeToUtf8(bytes)])
            {
                ids.Add(_byteIds[value]);
            }

            return false;
        }

        if (_unknownId is { } unknown && !(afterUnknown && _fuseUnknown))
        {
            ids.Add(unknown);
        }

        return true;
    }

    private void Merge(string word, int start, int end, List<int> ids)
    {
        if (end - start == 1)
        {
            ids.Add(_vocabulary[word[start..end]]);
        }
        else if (end > start)
        {
            ids.AddRange(_merger.EncodeToIds(word[start..end], considerPreTokenization: false, considerNormalization: false));
        }
    }

    private void ReadVocabulary(TokenizerPart part)
    {
        var seen = new HashSet<int>();
        foreach (var (token, value) in part.Members())
        {
            if (!_vocabulary.TryAdd(token, value.Int()))
            {
                throw value.Error("is there twice");
            }

            if (!seen.Add(value.Int()))
            {
                throw value.Error($"id {value.Int()} is there twice");
            }
        }

        if (_vocabulary.Count == 0)
        {
            throw part.Error("is empty");
        }
    }

    private List<string> ReadMerges(TokenizerPart part)
    {
        var merges = new List<string>();
        var seen = new HashSet<(string, string)>();
        foreach (var item in part.List())
        {
            string[] pair = item.IsString ? item.String().Split(' ') : [.. item.List().Select(token => token.String())];
            if (pair.Length != 2 || pair.Any(token => token.Length == 0 || token.Contains(' ')))
            {
                throw item.Error("is not a pair of tokens without spaces");
            }

            var joined = pair[0] + pair[1];
            foreach (var token in (ReadOnlySpan<string>)[pair[0], pair[1], joined])
            {
                if (!_vocabulary.ContainsKey(token))
                {
                    throw item.Error("has or makes a token outside the vocabulary");
                }
            }

            if (joined.Any(char.IsSurrogate))
            {
                throw item.Unsupported("a merge with characters beyond U+FFFF");
            }

            if (!seen.Add((pair[0], pair[1])))
            {
                throw item.Error("is there twice");
            }

            for (var i = 1; i < joined.Length; i++)
            {
                _joined.Add((joined[i - 1], joined[i]));
            }

            merges.Add($"{pair[0]} {pair[1]}");
        }

        return merges;
    }

    private int FindByte(TokenizerPart part, int value) => _vocabulary.TryGetValue($"<0x{value:X2}>", out var id)
        ? id
        : throw part.Unsupported($"byte_fallback without a token <0x{value:X2}>");
}
