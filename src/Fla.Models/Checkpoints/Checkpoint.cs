namespace Fla.Models.Checkpoints;

/// <summary>
/// The tensors of a model folder as transformers saves it: <c>model.safetensors</c>, or the shards that <c>model.safetensors.index.json</c>
/// lists; where neither is, <c>pytorch_model.bin</c> of <c>torch.save</c>, or its shards. A single file wins over shards, as in transformers.
/// </summary>
public sealed class Checkpoint : TensorSource
{
    /// <summary>Name of a single-file checkpoint.</summary>
    public const string FileName = "model.safetensors";

    /// <summary>Name of the list of shards.</summary>
    public const string IndexFileName = "model.safetensors.index.json";

    /// <summary>Name of a single-file checkpoint of <c>torch.save</c>.</summary>
    public const string PytorchFileName = "pytorch_model.bin";

    /// <summary>Name of the list of its shards.</summary>
    public const string PytorchIndexFileName = "pytorch_model.bin.index.json";

    /// <summary>Largest shard that <see cref="Save"/> writes unless told otherwise: 5·10⁹ bytes.</summary>
    public const long DefaultMaxShardBytes = 5_000_000_000;

    private readonly Dictionary<string, TensorInfo> _tensors = new(StringComparer.Ordinal);
    private readonly Dictionary<string, TensorSource> _owners = new(StringComparer.Ordinal);
    private readonly List<TensorSource> _files = [];

    private Checkpoint(string location) => Location = location;

    /// <inheritdoc/>
    public override string Location { get; }

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, TensorInfo> Tensors => _tensors;

    /// <summary>The files that hold the tensors.</summary>
    public IReadOnlyList<TensorSource> Files => _files;

    /// <summary>Opens a model folder, or one file: safetensors, or of <c>torch.save</c> if its name ends in .pt, .pth or .bin.</summary>
    /// <exception cref="CheckpointException">
    /// Nothing to open there, a malformed file or index, or an index and shards that disagree; the message names the file and the tensor.
    /// </exception>
    public static Checkpoint Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        var checkpoint = new Checkpoint(path);
        try
        {
            foreach (var (file, index) in new[] { (path, ""), (Path.Combine(path, FileName), Path.Combine(path, IndexFileName)), (Path.Combine(path, PytorchFileName), Path.Combine(path, PytorchIndexFileName)) })
            {
                if (File.Exists(file))
                {
                    checkpoint.AddFile(file);
                    return checkpoint;
                }

                if (File.Exists(index))
                {
                    checkpoint.AddShards(index);
                    return checkpoint;
                }
            }

            throw new CheckpointException($"holds neither {FileName} nor {PytorchFileName}, nor an index of shards of either", path);
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>Saves tensors into a folder: one file, or shards with an index when they are more than <paramref name="maxShardBytes"/>.</summary>
    /// <param name="folder">Created when missing; files of an earlier save that are no longer part of the checkpoint are removed.</param>
    /// <param name="tensors">What to save; shards are filled in this order.</param>
    /// <param name="maxShardBytes">A shard holds at most this many bytes of data, or one tensor that is larger.</param>
    /// <exception cref="CheckpointException">A name twice, a producer that wrote too little or too much, or the disk refuses.</exception>
    public static void Save(string folder, IReadOnlyList<TensorData> tensors, long maxShardBytes = DefaultMaxShardBytes)
        => CheckpointWriter.Save(folder, tensors, maxShardBytes);

    internal override void Read(TensorInfo info, long offset, Span<byte> destination) => _owners[info.Name].Read(info, offset, destination);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) => _files.ForEach(file => file.Dispose());

    private static TensorSource OpenFile(string path) => Path.GetExtension(path).ToUpperInvariant() is ".PT" or ".PTH" or ".BIN" ? PytorchFile.Open(path) : SafetensorsFile.Open(path);

    private void AddFile(string path)
    {
        var file = OpenFile(path);
        _files.Add(file);
        foreach (var (name, info) in file.Tensors)
        {
            _tensors.Add(name, info);
            _owners.Add(name, file);
        }
    }

    private void AddShards(string indexPath)
    {
        var index = ShardIndex.Read(indexPath);
        var folder = Path.GetDirectoryName(indexPath)!;
        foreach (var shard in index.Shards)
        {
            var file = OpenFile(Path.Combine(folder, shard));
            _files.Add(file);
            foreach (var (name, info) in file.Tensors)
            {
                if (!index.WeightMap.TryGetValue(name, out var expected))
                {
                    throw new CheckpointException($"is in {shard}, but not in the index", indexPath, name);
                }

                if (expected != shard)
                {
                    throw new CheckpointException($"is in {shard}, but the index says {expected}", indexPath, name);
                }

                _tensors.Add(name, info);
                _owners.Add(name, file);
            }
        }

        foreach (var (name, shard) in index.WeightMap)
        {
            if (!_tensors.ContainsKey(name))
            {
                throw new CheckpointException($"is not in {shard}, though the index says so", indexPath, name);
            }
        }
    }
}
