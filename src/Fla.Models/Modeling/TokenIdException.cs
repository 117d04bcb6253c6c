using Fla.Vulkan;

namespace Fla.Models;

/// <summary>A token id that is not in the vocabulary.</summary>
/// <param name="id">The id.</param>
/// <param name="position">Where it is among the ids given.</param>
/// <param name="vocabSize">Size of the vocabulary.</param>
public sealed class TokenIdException(int id, int position, int vocabSize)
    : FlaException($"token id {id} at position {position} is not in the vocabulary of {vocabSize}")
{
    /// <summary>The id.</summary>
    public int Id { get; } = id;

    /// <summary>Where it is among the ids given.</summary>
    public int Position { get; } = position;
}
