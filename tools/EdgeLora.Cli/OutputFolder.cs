namespace EdgeLora.Cli;

/// <summary>Writes whole folders: the files go into a temporary folder beside, which takes the name by one rename.</summary>
internal static class OutputFolder
{
    /// <summary>Makes <paramref name="folder"/> with what <paramref name="write"/> puts into the folder it is given. An existing folder with files in it is not touched: it throws.</summary>
    public static void Write(string folder, Action<string> write)
    {
        string full = Path.GetFullPath(Path.TrimEndingDirectorySeparator(folder));
        if (File.Exists(full) || (Directory.Exists(full) && Directory.EnumerateFileSystemEntries(full).Any()))
            throw new IOException($"{folder}: exists already; give a new folder");
        string parent = Path.GetDirectoryName(full)!;
        Directory.CreateDirectory(parent);
        string temporary = Path.Combine(parent, $".{Path.GetFileName(full)}.{Guid.NewGuid():N}.tmp");
        try
        {
            Directory.CreateDirectory(temporary);
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
}
