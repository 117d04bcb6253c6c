using System.Globalization;
using Fla.Models.Checkpoints;

namespace Fla.Models.Training;

/// <summary>
/// The checkpoints of a run: <c>FOLDER/step-NNNNNN</c>, each complete or not there at all. One is written under another name and renamed when all of it
/// is on the disk, so that a run that is killed at any moment finds its last one whole.
/// </summary>
/// <param name="folder">The run's folder; created by the first save.</param>
public sealed class RunFolder(string folder)
{
    private const string Prefix = "step-";
    private const string Unfinished = ".unfinished";

    /// <summary>The run's folder.</summary>
    public string Folder { get; } = folder;

    /// <summary>Steps with a checkpoint, oldest first.</summary>
    public IReadOnlyList<long> Steps => !Directory.Exists(Folder) ? [] :
        [.. Directory.EnumerateDirectories(Folder, Prefix + "*").Select(path => Number(Path.GetFileName(path))).Where(step => step >= 0).Order()];

    /// <summary>The checkpoint of a step.</summary>
    public string PathOf(long step) => Path.Combine(Folder, Prefix + step.ToString("D6", CultureInfo.InvariantCulture));

    /// <summary>Writes a trainer's checkpoint, and whatever else belongs beside it.</summary>
    /// <param name="trainer">Its results have to be collected.</param>
    /// <param name="alsoWrite">Given the folder, before it gets its name; null for nothing.</param>
    /// <param name="keepLast">Older checkpoints than so many are removed; 0 keeps all.</param>
    /// <returns>The checkpoint's folder.</returns>
    /// <exception cref="CheckpointException">The disk refuses.</exception>
    public string Save(Trainer trainer, Action<string>? alsoWrite = null, int keepLast = 0)
    {
        ArgumentNullException.ThrowIfNull(trainer);
        ArgumentOutOfRangeException.ThrowIfNegative(keepLast);
        var (target, temporary) = (PathOf(trainer.Step), PathOf(trainer.Step) + Unfinished);
        try
        {
            if (Directory.Exists(temporary)) Directory.Delete(temporary, recursive: true);
            trainer.Save(temporary);
            alsoWrite?.Invoke(temporary);
            if (Directory.Exists(target)) Directory.Delete(target, recursive: true);
            Directory.Move(temporary, target);
            if (keepLast > 0)
            {
                foreach (var old in Steps.SkipLast(keepLast)) Directory.Delete(PathOf(old), recursive: true);
            }
            return target;
        }
        catch (Exception error) when (error is IOException and not CheckpointException or UnauthorizedAccessException)
        {
            throw new CheckpointException("cannot be saved: " + error.Message, target, innerException: error);
        }
    }

    private static long Number(string name) =>
        long.TryParse(name.AsSpan(Prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var step) ? step : -1;
}
