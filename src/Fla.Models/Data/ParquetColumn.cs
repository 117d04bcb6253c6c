using Parquet;
using Parquet.Schema;

namespace Fla.Models.Data;

/// <summary>A column of text of a Parquet file, a row group at a time.</summary>
internal static class ParquetColumn
{
    /// <summary>Text of every row; null where there is none.</summary>
    /// <exception cref="DatasetException">The file is malformed, or has no such column of text.</exception>
    public static IEnumerable<string?> Read(string file, string column)
    {
        using var stream = File.OpenRead(file);
        var reader = Wait(file, () => ParquetReader.CreateAsync(stream));
        try
        {
            var field = Find(file, reader, column);
            for (var group = 0; group < reader.RowGroupCount; group++)
            {
                foreach (var text in Rows(file, reader, group, field)) yield return text;
            }
        }
        finally
        {
            reader.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }

    private static DataField Find(string file, ParquetReader reader, string column)
    {
        var fields = Wait(file, () => Task.FromResult(reader.Schema.GetDataFields()));
        var field = Array.Find(fields, f => f.Path.ToString() == column)
            ?? throw new DatasetException($"has no column \"{column}\"; it has {string.Join(", ", fields.Select(f => f.Path.ToString()))}", file);
        var holds = field.MaxRepetitionLevel > 0 ? "lists" : field.ClrType == typeof(ReadOnlyMemory<char>) || field.ClrType == typeof(string) ? null : field.ClrType.Name;
        return holds == null ? field : throw new DatasetException($"its column \"{column}\" holds {holds}, not text", file);
    }

    private static string?[] Rows(string file, ParquetReader reader, int group, DataField field) => Wait(file, async () =>
    {
        using var rows = reader.OpenRowGroupReader(group);
        var text = new string?[checked((int)rows.RowCount)];
        await rows.ReadAsync(field, text.AsMemory()!);
        return text;
    });

    /// <summary>The library is asynchronous, and says in many ways that a file is malformed.</summary>
    private static T Wait<T>(string file, Func<Task<T>> read)
    {
        try
        {
            return read().GetAwaiter().GetResult();
        }
        catch (Exception error) when (error is not OutOfMemoryException and not DatasetException)
        {
            throw new DatasetException($"is no Parquet file that can be read: {error.Message}", file, error);
        }
    }
}
