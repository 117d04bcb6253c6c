using System.Text.Json.Nodes;
using CsCheck;
using Fla.Models.Tokenizers;
using NUnit.Framework;

namespace Fla.Models.Tests.Tokenizers;

public sealed class TokenizerJsonTests
{
    [TestCase("hello world", new[] { 259, 260, 111, 114, 108, 100 })]
    [TestCase("helll", new[] { 258, 108 })]
    [TestCase("hell hello", new[] { 258, 32, 259 })]
    [TestCase("é", new[] { 0xC3, 0xA9 })]
    [TestCase("😀", new[] { 0xF0, 0x9F, 0x98, 0x80 })]
    [TestCase("hello<|end|>hello", new[] { 259, 261, 259 })]
    [TestCase("\n", new[] { 10 })]
    [TestCase("", new int[0])]
    public void ByteLevelIdsAreWhatMergingByHandGives(string text, int[] ids)
    {
        var tokenizer = SmallTokenizers.Parse(SmallTokenizers.ByteLevel());
        Assert.That(tokenizer.Encode(text), Is.EqualTo(ids));
        Assert.That(tokenizer.Decode(ids, skipSpecialTokens: false), Is.EqualTo(text));
        Assert.That(tokenizer.VocabSize, Is.EqualTo(262));
    }

    [Test]
    public void WordsAreCutBeforeMerging()
    {
        // "l 1" merges only where the text is not cut between letters and digits.
        var json = SmallTokenizers.ByteLevel();
        json["model"]!["vocab"]!.AsObject().Add("l1", 261);
        json["model"]!["merges"]!.AsArray().Insert(0, "l 1");
        json["added_tokens"] = new JsonArray();
        Assert.That(SmallTokenizers.Parse(json).Encode("l1"), Is.EqualTo(new[] { 108, 49 }));
        json["pre_tokenizer"]!["use_regex"] = false;
        Assert.That(SmallTokenizers.Parse(json).Encode("l1"), Is.EqualTo(new[] { 261 }));
    }

    [Test]
    public void APrefixSpaceIsAddedWhereTheFileSaysSo()
    {
        var json = SmallTokenizers.ByteLevel();
        json["pre_tokenizer"]!["add_prefix_space"] = true;
        var tokenizer = SmallTokenizers.Parse(json);
        Assert.That(tokenizer.Encode("w"), Is.EqualTo(new[] { 260 }));
        Assert.That(tokenizer.Encode(" w"), Is.EqualTo(new[] { 260 }));
    }

    [Test]
    public void IgnoreMergesTakesAWholeWordFirst()
    {
        var json = SmallTokenizers.ByteLevel();
        json["model"]!["merges"] = new JsonArray("h e", "e l");
        json["model"]!["vocab"]!.AsObject().Add("el", 261);
        json["added_tokens"] = new JsonArray();
        Assert.That(SmallTokenizers.Parse(json).Encode("hello"), Is.EqualTo(new[] { 256, 108, 108, 111 }));
        json["model"]!["ignore_merges"] = true;
        Assert.That(SmallTokenizers.Parse(json).Encode("hello"), Is.EqualTo(new[] { 259 }));
    }

    [TestCase("ab ab", new[] { 1, 264, 264 })]
    [TestCase("a  b", new[] { 1, 262, 266, 261 })]
    [TestCase("abé\n", new[] { 1, 264, 3 + 0xC3, 3 + 0xA9, 3 + 10 })]
    [TestCase("a😀b", new[] { 1, 262, 3 + 0xF0, 3 + 0x9F, 3 + 0x98, 3 + 0x80, 261 })]
    [TestCase("a𝓐b", new[] { 1, 262, 265, 261 })]
    [TestCase("ab</s>ab", new[] { 1, 264, 2, 264 })]
    [TestCase("", new[] { 1 })]
    public void SentencePieceLikeIdsAreWhatMergingByHandGives(string text, int[] ids)
    {
        var tokenizer = SmallTokenizers.Parse(SmallTokenizers.Sentence());
        Assert.That(tokenizer.Encode(text), Is.EqualTo(ids));
        Assert.That(tokenizer.Encode(text, addSpecialTokens: false), Is.EqualTo(ids[1..]));
        if (!text.Contains("</s>"))
        {
            Assert.That(tokenizer.Decode(ids), Is.EqualTo(text));
        }
    }

    [TestCase("first", false, "ab</s>ab", new[] { 1, 264, 2, 263 })]
    [TestCase("always", false, "ab</s>ab", new[] { 1, 264, 2, 264 })]
    [TestCase("never", false, "ab ab", new[] { 1, 263, 264 })]
    [TestCase("first", false, " ab", new[] { 1, 264 })]
    [TestCase("first", false, "a  b", new[] { 1, 262, 266, 261 })]
    [TestCase("first", true, "a  b", new[] { 1, 262, 259, 259, 261 })]
    public void MetaspaceMarksWords(string scheme, bool split, string text, int[] ids)
        => Assert.That(SmallTokenizers.Parse(SmallTokenizers.Metaspace(scheme, split)).Encode(text), Is.EqualTo(ids));

    [Test]
    public void UnknownCharactersBecomeTheUnknownTokenFusedOrNot()
    {
        var json = SmallTokenizers.Sentence();
        json["model"]!["byte_fallback"] = false;
        Assert.That(SmallTokenizers.Parse(json).Encode("aéèb", false), Is.EqualTo(new[] { 262, 0, 261 }));
        json["model"]!["fuse_unk"] = false;
        Assert.That(SmallTokenizers.Parse(json).Encode("aéèb", false), Is.EqualTo(new[] { 262, 0, 0, 261 }));
        json["model"]!["unk_token"] = null;
        Assert.That(SmallTokenizers.Parse(json).Encode("aéèb", false), Is.EqualTo(new[] { 262, 261 }));
    }

    [Test]
    public void MergingIsWhatItsDefinitionSays()
    {
        // Definition: while a neighbouring pair is among the merges, merge the leftmost of those of the lowest rank.
        var letters = new[] { "a", "b", "c", "▁" };
        Gen.Select(Gen.Int[0, 1_000_000], Gen.Int[1, 14], Gen.Int[0, 40]).Sample(
            (seed, mergeCount, length) =>
            {
                var random = new Random(seed);
                var tokens = letters.ToList();
                var merges = new List<(string Left, string Right)>();
                for (var i = 0; i < mergeCount; i++)
                {
                    var merge = (Left: tokens[random.Next(tokens.Count)], Right: tokens[random.Next(tokens.Count)]);
                    if (!tokens.Contains(merge.Left + merge.Right))
                    {
                        merges.Add(merge);
                        tokens.Add(merge.Left + merge.Right);
                    }
                }

                var vocabulary = new JsonObject(tokens.Select((token, id) => KeyValuePair.Create(token, (JsonNode?)id)));
                var json = new JsonObject
                {
                    ["model"] = SmallTokenizers.Model(vocabulary, [.. merges.Select(merge => $"{merge.Left} {merge.Right}")]),
                    ["decoder"] = SmallTokenizers.Node("""{"type":"Sequence","decoders":[{"type":"Fuse"}]}"""),
                };
                var word = string.Concat(Enumerable.Range(0, length).Select(_ => letters[random.Next(letters.Length)]));
                var tokenizer = SmallTokenizers.Parse(json);
                var ids = tokenizer.Encode(word);
                Assert.That(ids.Select(id => tokens[id]), Is.EqualTo(MergeByDefinition(word, merges)), $"{word} with {string.Join(", ", merges)}");
                Assert.That(tokenizer.Decode(ids), Is.EqualTo(word));
            },
            iter: 2000,
            seed: "0N0XIzNsQ0O2",
            threads: 1);
    }

    [Test]
    public void AnyTextComesBack()
    {
        TextTokenizer[] tokenizers = [SmallTokenizers.Parse(SmallTokenizers.ByteLevel()), SmallTokenizers.Parse(SmallTokenizers.Sentence()), new ByteTokenizer()];
        string[] special = ["<unk>", "<s>", "</s>", "<|end|>"];       // these spell a token that is not text
        Gen.String.Where(text => !text.Any(char.IsSurrogate) && !text.Contains('▁') && !special.Any(text.Contains)).Sample(
            text =>
            {
                foreach (var tokenizer in tokenizers)
                {
                    var ids = tokenizer.Encode(text);
                    var stream = tokenizer.CreateStreamDecoder();
                    Assert.That(tokenizer.Decode(ids), Is.EqualTo(text));
                    Assert.That(string.Concat(ids.Select(stream.Push)) + stream.Finish(), Is.EqualTo(text));
                }
            },
            iter: 1000,
            seed: "0N0XIzNsQ0O2",
            threads: 1);
    }

    [Test]
    public void ALongTextWithoutCutsTakesLittleTime()
    {
        var tokenizer = SmallTokenizers.Parse(SmallTokenizers.Sentence());
        var text = string.Concat(Enumerable.Repeat("ab a b ", 100_000));
        var clock = System.Diagnostics.Stopwatch.StartNew();
        Assert.That(tokenizer.Encode(text, false), Has.Length.EqualTo(400_001));
        Assert.That(clock.Elapsed, Is.LessThan(TimeSpan.FromSeconds(10)));
    }

    [TestCase("model.type", "\"Unigram\"", "model", "the model Unigram")]
    [TestCase("model.type", "\"WordPiece\"", "model", "the model WordPiece")]
    [TestCase("model.type", "\"WordLevel\"", "model", "the model WordLevel")]
    [TestCase("model.dropout", "0.1", "model.dropout", "dropout")]
    [TestCase("model.continuing_subword_prefix", "\"##\"", "model.continuing_subword_prefix", "'##'")]
    [TestCase("model.end_of_word_suffix", "\"</w>\"", "model.end_of_word_suffix", "'</w>'")]
    [TestCase("model.byte_fallback", "true", "model.byte_fallback", "<0x00>")]
    [TestCase("model.unk_token", "\"<nothing>\"", "model.unk_token", "not in the vocabulary")]
    [TestCase("model.merges", "[\"h e\",\"h e\"]", "model.merges[1]", "twice")]
    [TestCase("model.merges", "[\"h\"]", "model.merges[0]", "pair")]
    [TestCase("model.merges", "[[\"h\",\"e\",\"l\"]]", "model.merges[0]", "pair")]
    [TestCase("model.merges", "[\"x y\"]", "model.merges[0]", "outside the vocabulary")]
    [TestCase("model.merges", "7", "model.merges", "not a list")]
    [TestCase("model.vocab", "{}", "model.vocab", "empty")]
    [TestCase("model.vocab", "{\"a\":0,\"b\":0}", "model.vocab.b", "twice")]
    [TestCase("model.vocab", "{\"a\":-1}", "model.vocab.a", "non-negative")]
    [TestCase("model", "null", "model", "not an object")]
    [TestCase("normalizer", "{\"type\":\"Lowercase\"}", "normalizer", "the normalizer Lowercase")]
    [TestCase("normalizer", "{\"type\":\"NFKC\"}", "normalizer", "the normalizer NFKC")]
    [TestCase("normalizer", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Precompiled\"}]}", "normalizer.normalizers[0]", "the normalizer Precompiled")]
    [TestCase("normalizer", "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" +\"},\"content\":\"x\"}", "normalizer.pattern", "not a String")]
    [TestCase("pre_tokenizer", "{\"type\":\"Whitespace\"}", "pre_tokenizer", "the pre-tokenizer Whitespace")]
    [TestCase("pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a+\"},\"behavior\":\"Isolated\",\"invert\":false}", "pre_tokenizer.pattern", "a+")]
    [TestCase("pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Isolated\",\"invert\":false}", "pre_tokenizer.pattern", "not a Regex")]
    [TestCase("pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a+\"},\"behavior\":\"MergedWithNext\"}", "pre_tokenizer.behavior", "MergedWithNext")]
    [TestCase("pre_tokenizer", "{\"type\":\"Metaspace\",\"replacement\":\"__\"}", "pre_tokenizer.replacement", "one character")]
    [TestCase("post_processor", "{\"type\":\"BertProcessing\"}", "post_processor", "the post-processor BertProcessing")]
    [TestCase("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"B\"}}]}", "post_processor.single[0]", "one text A")]
    [TestCase("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[]}", "post_processor.single", "without the text")]
    [TestCase("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"s\"}},{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"s\":{\"ids\":[999]}}}", "post_processor", "999")]
    [TestCase("decoder", "{\"type\":\"WordPiece\"}", "decoder", "the decoder WordPiece")]
    [TestCase("decoder", "null", "decoder", "the decoder null")]
    [TestCase("decoder", "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Strip\"}]}", "decoder", "the decoder sequence Strip")]
    [TestCase("added_tokens", "[{\"id\":261,\"content\":\"<x>\",\"lstrip\":true}]", "added_tokens[0].lstrip", "lstrip")]
    [TestCase("added_tokens", "[{\"id\":261,\"content\":\"<x>\",\"single_word\":true}]", "added_tokens[0].single_word", "single_word")]
    [TestCase("added_tokens", "[{\"id\":300,\"content\":\"<x>\"}]", "added_tokens[0]", "would be given 261")]
    [TestCase("added_tokens", "[{\"id\":5,\"content\":\"<x>\"}]", "added_tokens[0]", "would be given 261")]
    [TestCase("added_tokens", "[{\"id\":\"5\",\"content\":\"<x>\"}]", "added_tokens[0].id", "integer")]
    public void WhatWouldBeWrongIsRefusedByName(string path, string value, string component, string message)
    {
        var json = SmallTokenizers.ByteLevel();
        JsonNode target = json;
        var names = path.Split('.');
        foreach (var name in names[..^1])
        {
            target = target[name]!;
        }

        target[names[^1]] = JsonNode.Parse(value);
        var error = Assert.Throws<TokenizerException>(() => SmallTokenizers.Parse(json))!;
        Assert.That(error.Component, Is.EqualTo(component));
        Assert.That(error.Message, Does.Contain(message));
    }

    [Test]
    public void ANormalizedAddedTokenBesideANormalizerIsRefused()
    {
        var json = SmallTokenizers.Sentence();
        json["added_tokens"]![1]!["normalized"] = true;
        Assert.That(() => SmallTokenizers.Parse(json), Throws.TypeOf<TokenizerException>().With.Property("Component").EqualTo("added_tokens[1].normalized"));
    }

    [TestCase("[]")]
    [TestCase("{")]
    [TestCase("")]
    [TestCase("{\"model\":{},\"model\":{}}")]
    [TestCase("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"\\ud800\":1}}}")]
    public void MalformedFilesAreATypedError(string json)
        => Assert.Throws<TokenizerException>(() => TokenizerJsonReader.Parse(System.Text.Encoding.UTF8.GetBytes(json)));

    [Test]
    public void DamagedFilesGiveATokenizerOrATypedError()
    {
        byte[][] seeds =
        [
            SmallTokenizers.Bytes(SmallTokenizers.ByteLevel()), SmallTokenizers.Bytes(SmallTokenizers.Sentence()), SmallTokenizers.Bytes(SmallTokenizers.Metaspace("first", true)),
        ];
        var mutator = new Mutator(seed: 7);
        var accepted = 0;
        for (var i = 0; i < 5000; i++)
        {
            var bytes = mutator.Next(seeds);
            try
            {
                var tokenizer = TokenizerJsonReader.Parse(bytes);
                tokenizer.Decode(tokenizer.Encode("hello é 😀 ab"));
                accepted++;
            }
            catch (TokenizerException)
            {
                // What a damaged file should give.
            }
            catch (Exception error)
            {
                Assert.Fail($"input {i} ({Convert.ToBase64String(bytes)}) gave {error}");
            }
        }

        Assert.That(accepted, Is.InRange(50, 4500));
    }

    private static List<string> MergeByDefinition(string word, List<(string Left, string Right)> merges)
    {
        var symbols = word.Select(c => c.ToString()).ToList();
        while (true)
        {
            var candidates = Enumerable.Range(0, Math.Max(0, symbols.Count - 1))
                .Select(i => (Rank: merges.IndexOf((symbols[i], symbols[i + 1])), At: i))
                .Where(candidate => candidate.Rank >= 0)
                .ToList();
            if (candidates.Count == 0)
            {
                return symbols;
            }

            var at = candidates.Min().At;
            symbols[at] += symbols[at + 1];
            symbols.RemoveAt(at + 1);
        }
    }
}
