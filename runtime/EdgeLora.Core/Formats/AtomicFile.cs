namespace EdgeLora.Core;

/// <summary>
/// Writes whole files: a reader, a watcher or a crash sees the old file or the new one, never a part. The bytes go to a temporary
/// file in the same folder (<c>.name.random.tmp</c>), are flushed to the disk, and take the name by one rename.
/// </summary>
public static class AtomicFile
{
    /// <summary>Extension of the temporary files; folder watchers ignore it.</summary>
    public const string TemporaryExtension = ".tmp";

    /// <summary>Writes <paramref name="path"/> with what <paramref name="write"/> puts into the stream. On any exception the temporary file is deleted and the old file stays.</summary>
    public static void Write(string path, Action<Stream> write)
    {
        string full = Path.GetFullPath(path), folder = Path.GetDirectoryName(full)!;
        if (!Directory.Exists(folder))
            throw new DirectoryNotFoundException($"{path}: there is no folder {folder}");
        string temporary = Path.Combine(folder, $".{Path.GetFileName(full)}.{Guid.NewGuid():N}{TemporaryExtension}");
        try
        {
            using (FileStream stream = new(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }
            File.Move(temporary, full, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    /// <summary>Deletes the temporary files that processes which were killed left behind while they wrote <paramref name="path"/>. Those that another process writes at this moment stay.</summary>
    public static void RemoveLeftovers(string path)
    {
        string full = Path.GetFullPath(path);
        if (Path.GetDirectoryName(full) is not { } folder || !Directory.Exists(folder))
            return;
        foreach (string temporary in Directory.EnumerateFiles(folder, $".{Path.GetFileName(full)}.*{TemporaryExtension}"))
            try
            {
                // A writer holds its file alone.
                using FileStream stream = new(temporary, FileMode.Open, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                continue;
            }
    }

    /// <summary>Writes <paramref name="bytes"/> to <paramref name="path"/>.</summary>
    public static void WriteBytes(string path, ReadOnlyMemory<byte> bytes) => Write(path, stream => stream.Write(bytes.Span));

    /// <summary>Writes <paramref name="text"/> to <paramref name="path"/> as UTF-8 without a byte order mark.</summary>
    public static void WriteText(string path, string text) => WriteBytes(path, System.Text.Encoding.UTF8.GetBytes(text));
}
