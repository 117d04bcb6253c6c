using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Fla.Models.Checkpoints;

/// <summary>Saves a model folder's tensors with the file names of transformers.</summary>
internal static partial class CheckpointWriter
{
    public static void Save(string folder, IReadOnlyList<TensorData> tensors, long maxShardBytes)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(tensors);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maxShardBytes);
        CheckNames(folder, tensors);
        var shards = Split(tensors, maxShardBytes);
        string[] names = shards.Count == 1
            ? [Checkpoint.FileName]
            : [.. Enumerable.Range(1, shards.Count).Select(i => $"model-{i:D5}-of-{shards.Count:D5}.safetensors")];
        var pending = new List<(string Path, string Temporary)>();
        try
        {
            Directory.CreateDirectory(folder);
            for (var i = 0; i < shards.Count; i++)
            {
                var path = Path.Combine(folder, names[i]);
                pending.Add((path, SafetensorsWriter.WriteTemporary(path, shards[i], null)));
            }

            if (shards.Count > 1)
            {
                var path = Path.Combine(folder, Checkpoint.IndexFileName);
                pending.Add((path, AtomicFile.Prepare(path, stream => WriteIndex(stream, shards, names))));
            }

            foreach (var (path, temporary) in pending)
            {
                AtomicFile.Replace(path, temporary);
            }

            RemoveLeftovers(folder, names);
        }
        catch (Exception error)
        {
            pending.ForEach(file => AtomicFile.Discard(file.Temporary));
            if (error is IOException and not CheckpointException or UnauthorizedAccessException)
            {
                throw new CheckpointException("cannot be saved: " + error.Message, folder, innerException: error);
            }

            throw;
        }
    }

    private static void CheckNames(string folder, IReadOnlyList<TensorData> tensors)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var tensor in tensors)
        {
            if (!names.Add(tensor.Name))
            {
                throw new CheckpointException("given twice", folder, tensor.Name);
            }
        }
    }

    private static List<List<TensorData>> Split(IReadOnlyList<TensorData> tensors, long maxShardBytes)
    {
        List<List<TensorData>> shards = [[]];
        long used = 0;
        foreach (var tensor in tensors)
        {
            if (shards[^1].Count > 0 && tensor.ByteLength > maxShardBytes - used)
            {
                shards.Add([]);
                used = 0;
            }

            shards[^1].Add(tensor);
            used += tensor.ByteLength;
        }

        return shards;
    }

    private static void WriteIndex(Stream stream, List<List<TensorData>> shards, string[] names)
    {
        var options = new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
        using var json = new Utf8JsonWriter(stream, options);
        json.WriteStartObject();
        json.WriteStartObject("metadata");
        json.WriteNumber("total_size", shards.Sum(shard => shard.Sum(tensor => tensor.ByteLength)));
        json.WriteEndObject();
        json.WriteStartObject("weight_map");
        var entries = shards.SelectMany((shard, i) => shard.Select(tensor => (tensor.Name, File: names[i])));
        foreach (var (name, file) in entries.OrderBy(entry => entry.Name, StringComparer.Ordinal))
        {
            json.WriteString(name, file);
        }

        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void RemoveLeftovers(string folder, string[] names)
    {
        foreach (var path in Directory.EnumerateFiles(folder).ToArray())
        {
            var name = Path.GetFileName(path);
            var isIndex = name == Checkpoint.IndexFileName;
            if ((isIndex && names.Length == 1) || (!isIndex && !names.Contains(name) && SavedName().IsMatch(name)))
            {
                File.Delete(path);
            }
        }
    }

    [GeneratedRegex(@"\Amodel(-[0-9]{5}-of-[0-9]{5})?\.safetensors\z")]
    private static partial Regex SavedName();
}
