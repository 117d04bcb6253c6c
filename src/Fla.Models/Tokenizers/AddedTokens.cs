namespace Fla.Models.Tokenizers;

/// <summary>The <c>added_tokens</c> of tokenizer.json: found in a text before anything else, the longest first.</summary>
internal sealed class AddedTokens
{
    private readonly Dictionary<int, (string Content, bool IsSpecial)> _byId = [];
    private readonly Dictionary<char, (string Content, int Id)[]> _byFirst;

    /// <summary>Reads and validates the component.</summary>
    /// <param name="part">The list, or null.</param>
    /// <param name="vocabulary">The model's tokens.</param>
    /// <param name="normalizes">Whether the file has a normalizer that changes text.</param>
    /// <exception cref="TokenizerException">Malformed, or with a part that would not be honoured exactly.</exception>
    public AddedTokens(TokenizerPart part, IReadOnlyDictionary<string, int> vocabulary, bool normalizes)
    {
        var taken = vocabulary.Values.ToHashSet();
        var nextFree = vocabulary.Count;
        foreach (var item in part.IsNull ? [] : part.List())
        {
            var id = item["id"].Int();
            var content = item["content"].String();
            foreach (var flag in (ReadOnlySpan<string>)["single_word", "lstrip", "rstrip"])
            {
                if (item[flag].Bool(absent: false))
                {
                    throw item[flag].Unsupported(flag);
                }
            }

            var isSpecial = item["special"].Bool(absent: false);
            if (normalizes && item["normalized"].Bool(absent: !isSpecial))
            {
                throw item["normalized"].Unsupported("a normalized added token beside a normalizer");
            }

            // The file's own library numbers new tokens by itself; a file that disagrees would be read with other ids there.
            var expected = vocabulary.TryGetValue(content, out var known) ? known : nextFree;
            if (content.Length == 0 || id != expected || (known != id && taken.Contains(id)))
            {
                throw item.Error($"'{content}' has id {id}, but would be given {expected}");
            }

            if (!_byId.TryAdd(id, (content, isSpecial)))
            {
                throw item.Error($"'{content}' is there twice");
            }

            nextFree = Math.Max(nextFree, id + 1);
        }

        _byFirst = _byId.GroupBy(entry => entry.Value.Content[0]).ToDictionary(
            group => group.Key,
            group => group.Select(entry => (entry.Value.Content, entry.Key)).OrderByDescending(token => token.Content.Length).ToArray());
    }

    /// <summary>All ids.</summary>
    public IEnumerable<int> Ids => _byId.Keys;

    /// <summary>Finds a token by id.</summary>
    public bool TryGet(int id, out string content, out bool isSpecial)
    {
        var found = _byId.TryGetValue(id, out var token);
        (content, isSpecial) = found ? token : ("", false);
        return found;
    }

    /// <summary>Finds a token by its text.</summary>
    public int? Find(string content)
        => content.Length > 0 && _byFirst.TryGetValue(content[0], out var tokens) && tokens.Any(token => token.Content == content)
            ? tokens.First(token => token.Content == content).Id
            : null;

    /// <summary>Cuts a text at the tokens in it: pieces of text with a null id, in between the ids.</summary>
    public IEnumerable<(string Text, int? Id)> Cut(string text)
    {
        var start = 0;
        for (var i = 0; i < text.Length;)
        {
            if (!TryMatch(text, i, out var token))
            {
                i++;
                continue;
            }

            if (i > start)
            {
                yield return (text[start..i], null);
            }

            yield return (token.Content, token.Id);
            i += token.Content.Length;
            start = i;
        }

        if (start < text.Length)
        {
            yield return (text[start..], null);
        }
    }

    private bool TryMatch(string text, int at, out (string Content, int Id) token)
    {
        token = default;
        if (!_byFirst.TryGetValue(text[at], out var candidates))
        {
            return false;
        }

        foreach (var candidate in candidates)
        {
            if (string.CompareOrdinal(text, at, candidate.Content, 0, candidate.Content.Length) == 0)
            {
                token = candidate;
                return true;
            }
        }

        return false;
    }
}
