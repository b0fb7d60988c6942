namespace EdgeLora.Cli;

/// <summary>Writes whole folders: the files go into a temporary folder beside, which takes the name by one rename. What a killed process left of one is swept by the next that writes it.</summary>
internal static class OutputFolder
{
    // Held alone by the writer for as long as it writes.
    private const string Marker = ".writing";

    /// <summary>Makes <paramref name="folder"/> with what <paramref name="write"/> puts into the folder it is given. An existing folder with files in it is not touched: it throws.</summary>
    public static void Write(string folder, Action<string> write)
    {
        string full = Path.GetFullPath(Path.TrimEndingDirectorySeparator(folder));
        if (File.Exists(full) || (Directory.Exists(full) && Directory.EnumerateFileSystemEntries(full).Any()))
            throw new IOException($"{folder}: exists already; give a new folder");
        string parent = Path.GetDirectoryName(full)!;
        Directory.CreateDirectory(parent);
        RemoveLeftovers(full);
        string temporary = Path.Combine(parent, $".{Path.GetFileName(full)}.{Guid.NewGuid():N}.tmp");
        try
        {
            Directory.CreateDirectory(temporary);
            using (FileStream held = new(Path.Combine(temporary, Marker), FileMode.CreateNew, FileAccess.Write, FileShare.None, 1, FileOptions.DeleteOnClose))
                write(temporary);
            if (Directory.Exists(full))
                Directory.Delete(full);
            Directory.Move(temporary, full);
        }
        catch
        {
            if (Directory.Exists(temporary))
                Directory.Delete(temporary, recursive: true);
            throw;
        }
    }

    /// <summary>Deletes the temporary folders that killed processes left while they wrote <paramref name="full"/>. Those that another process writes at this moment stay.</summary>
    private static void RemoveLeftovers(string full)
    {
        foreach (string temporary in Directory.EnumerateDirectories(Path.GetDirectoryName(full)!, $".{Path.GetFileName(full)}.*.tmp"))
            try
            {
                // Without a marker it is about to take its name.
                new FileStream(Path.Combine(temporary, Marker), FileMode.Open, FileAccess.ReadWrite, FileShare.None).Dispose();
                Directory.Delete(temporary, recursive: true);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                continue;
            }
    }
}
