using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fla.Models.Tokenizers;

namespace Fla.Models.Tests.Tokenizers;

/// <summary>Tokenizers small enough to work out ids by hand.</summary>
internal static class SmallTokenizers
{
    /// <summary>
    /// As GPT-2: bytes 0 to 255, then he 256, ll 257, hell 258, hello 259, " w" 260, and the special token &lt;|end|&gt; 261.
    /// </summary>
    public static JsonObject ByteLevel()
    {
        var vocabulary = new JsonObject();
        for (var value = 0; value < 256; value++)
        {
            vocabulary.Add(ByteAlphabet.CharOf((byte)value).ToString(), value);
        }

        Add(vocabulary, "he", "ll", "hell", "hello", "Ġw");
        return new JsonObject
        {
            ["added_tokens"] = new JsonArray(Special(261, "<|end|>")),
            ["normalizer"] = null,
            ["pre_tokenizer"] = Node("""{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}"""),
            ["post_processor"] = Node("""{"type":"ByteLevel","trim_offsets":false}"""),
            ["decoder"] = Node("""{"type":"ByteLevel"}"""),
            ["model"] = Model(vocabulary, "h e", "l l", "he ll", "hell o", "Ġ w"),
        };
    }

    /// <summary>
    /// As Llama 2 and Mistral: &lt;unk&gt; 0, &lt;s&gt; 1, &lt;/s&gt; 2, bytes 3 to 258, ▁ 259, a 260, b 261, ▁a 262, ab 263, ▁ab 264, 𝓐 265, ▁▁ 266.
    /// </summary>
    public static JsonObject Sentence()
    {
        var vocabulary = new JsonObject();
        Add(vocabulary, "<unk>", "<s>", "</s>");
        for (var value = 0; value < 256; value++)
        {
            Add(vocabulary, $"<0x{value:X2}>");
        }

        Add(vocabulary, "▁", "a", "b", "▁a", "ab", "▁ab", "𝓐", "▁▁");
        var model = Model(vocabulary, "▁ ▁", "▁ a", "a b", "▁a b");
        model["unk_token"] = "<unk>";
        model["fuse_unk"] = true;
        model["byte_fallback"] = true;
        return new JsonObject
        {
            ["added_tokens"] = new JsonArray(Special(0, "<unk>"), Special(1, "<s>"), Special(2, "</s>")),
            ["normalizer"] = Node("""
                {"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]}
                """),
            ["pre_tokenizer"] = null,
            ["post_processor"] = Node("""
                {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
                "pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}}
                """),
            ["decoder"] = Node("""
                {"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},
                {"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}
                """),
            ["model"] = model,
        };
    }

    /// <summary>As newer Llama 2 files: the marks are put in by a Metaspace pre-tokenizer.</summary>
    public static JsonObject Metaspace(string scheme, bool split)
    {
        var json = Sentence();
        json["normalizer"] = null;
        json["pre_tokenizer"] = new JsonObject { ["type"] = "Metaspace", ["replacement"] = "▁", ["prepend_scheme"] = scheme, ["split"] = split };
        return json;
    }

    public static TextTokenizer Parse(JsonNode json) => TokenizerJsonReader.Parse(Bytes(json));

    public static byte[] Bytes(JsonNode json) => Encoding.UTF8.GetBytes(json.ToJsonString());

    public static JsonNode Node(string json) => JsonNode.Parse(json)!;

    public static TokenizerPart Part(string json) => new(JsonDocument.Parse(json).RootElement, "part");

    public static JsonObject Model(JsonObject vocabulary, params string[] merges) => new()
    {
        ["type"] = "BPE",
        ["vocab"] = vocabulary,
        ["merges"] = new JsonArray([.. merges.Select(merge => JsonValue.Create(merge))]),
    };

    private static JsonObject Special(int id, string content)
        => new() { ["id"] = id, ["content"] = content, ["single_word"] = false, ["lstrip"] = false, ["rstrip"] = false, ["normalized"] = false, ["special"] = true };

    private static void Add(JsonObject vocabulary, params string[] tokens)
    {
        foreach (var token in tokens)
        {
            vocabulary.Add(token, vocabulary.Count);
        }
    }
}
