using System.Text;
using System.Text.Json;
using Fla.Models.Checkpoints;

namespace Fla.Models.Tokenizers;

/// <summary>
/// The default tokenizer: a token is a byte of the text's UTF-8. Ids 0 to 255 are byte values, 256 begins a text, 257 ends one, 258 pads; the
/// vocabulary has 259. <see cref="Save"/> writes a tokenizer.json with which Python gets the same ids.
/// </summary>
public sealed class ByteTokenizer : TextTokenizer
{
    private const int Bytes = 256;

    private static readonly string[] SpecialTokens = ["<|bos|>", "<|eos|>", "<|pad|>"];

    private static readonly byte[] Identity = [.. Enumerable.Range(0, Bytes).Select(value => (byte)value)];

    /// <inheritdoc/>
    public override int VocabSize => Bytes + SpecialTokens.Length;

    /// <inheritdoc/>
    public override int? BosId => Bytes;

    /// <inheritdoc/>
    public override int? EosId => Bytes + 1;

    /// <inheritdoc/>
    public override int? PadId => Bytes + 2;

    /// <inheritdoc/>
    public override int[] Encode(string text, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        var bytes = Encoding.UTF8.GetBytes(text);
        var start = addSpecialTokens ? 1 : 0;
        var ids = new int[bytes.Length + start];
        if (addSpecialTokens)
        {
            ids[0] = Bytes;
        }

        for (var i = 0; i < bytes.Length; i++)
        {
            ids[start + i] = bytes[i];
        }

        return ids;
    }

    /// <inheritdoc/>
    public override string Decode(IEnumerable<int> ids, bool skipSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(ids);
        var bytes = new List<byte>();
        foreach (var id in ids)
        {
            if (TryDecode(id, isFirst: false, skipSpecialTokens, out var part))
            {
                bytes.AddRange(part);
            }
        }

        return Encoding.UTF8.GetString([.. bytes]);
    }

    /// <summary>Writes tokenizer.json and tokenizer_config.json into a model folder.</summary>
    /// <exception cref="CheckpointException">The disk refuses.</exception>
    public void Save(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        AtomicFile.Write(Path.Combine(folder, FileName), WriteTokenizer);
        AtomicFile.Write(Path.Combine(folder, TokenizerJsonReader.SpecialNamesFile), WriteSpecialNames);
    }

    internal override bool TryDecode(int id, bool isFirst, bool skipSpecialTokens, out ReadOnlySpan<byte> bytes)
    {
        if (id is >= 0 and < Bytes)
        {
            bytes = Identity.AsSpan(id, 1);
            return true;
        }

        var isSpecial = id >= Bytes && id < VocabSize && !skipSpecialTokens;
        bytes = isSpecial ? Encoding.UTF8.GetBytes(SpecialTokens[id - Bytes]) : [];
        return isSpecial;
    }

    private static void WriteTokenizer(Stream stream)
    {
        using var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true });
        json.WriteStartObject();
        json.WriteString("version", "1.0");
        json.WriteNull("truncation");
        json.WriteNull("padding");
        json.WriteStartArray("added_tokens");
        for (var i = 0; i < SpecialTokens.Length; i++)
        {
            json.WriteStartObject();
            json.WriteNumber("id", Bytes + i);
            json.WriteString("content", SpecialTokens[i]);
            foreach (var flag in (ReadOnlySpan<string>)["single_word", "lstrip", "rstrip", "normalized"])
            {
                json.WriteBoolean(flag, false);
            }

            json.WriteBoolean("special", true);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteNull("normalizer");
        WriteByteLevel(json, "pre_tokenizer");
        WriteTemplate(json);
        WriteByteLevel(json, "decoder");
        WriteModel(json);
        json.WriteEndObject();
    }

    private static void WriteByteLevel(Utf8JsonWriter json, string name)
    {
        json.WriteStartObject(name);
        json.WriteString("type", "ByteLevel");
        json.WriteBoolean("add_prefix_space", false);
        json.WriteBoolean("trim_offsets", false);
        json.WriteBoolean("use_regex", false);
        json.WriteEndObject();
    }

    private static void WriteTemplate(Utf8JsonWriter json)
    {
        var bos = SpecialTokens[0];
        json.WritePropertyName("post_processor");
        json.WriteRawValue($$"""
            {
                "type": "TemplateProcessing",
                "single": [{ "SpecialToken": { "id": "{{bos}}", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
                "pair": [
                  { "SpecialToken": { "id": "{{bos}}", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } },
                  { "SpecialToken": { "id": "{{bos}}", "type_id": 1 } }, { "Sequence": { "id": "B", "type_id": 1 } }
                ],
                "special_tokens": { "{{bos}}": { "id": "{{bos}}", "ids": [{{Bytes}}], "tokens": ["{{bos}}"] } }
              }
            """);
    }

    private static void WriteModel(Utf8JsonWriter json)
    {
        json.WriteStartObject("model");
        json.WriteString("type", "BPE");
        foreach (var name in (ReadOnlySpan<string>)["dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"])
        {
            json.WriteNull(name);
        }

        foreach (var flag in (ReadOnlySpan<string>)["fuse_unk", "byte_fallback", "ignore_merges"])
        {
            json.WriteBoolean(flag, false);
        }

        json.WriteStartObject("vocab");
        for (var value = 0; value < Bytes; value++)
        {
            json.WriteNumber(ByteAlphabet.CharOf((byte)value).ToString(), value);
        }

        json.WriteEndObject();
        json.WriteStartArray("merges");
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteSpecialNames(Stream stream)
    {
        using var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true });
        json.WriteStartObject();
        json.WriteBoolean("add_bos_token", true);
        json.WriteString("bos_token", SpecialTokens[0]);
        json.WriteBoolean("clean_up_tokenization_spaces", false);
        json.WriteString("eos_token", SpecialTokens[1]);
        json.WriteString("pad_token", SpecialTokens[2]);
        json.WriteString("tokenizer_class", "PreTrainedTokenizerFast");
        json.WriteEndObject();
    }
}
