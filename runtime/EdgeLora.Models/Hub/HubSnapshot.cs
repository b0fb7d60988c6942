using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// A snapshot's folder out of blobs. It appears by one rename when all of its files are there, and a revision points at it after that: a pull that was cut leaves no snapshot with holes,
/// and the one before stays what its revision means.
/// </summary>
internal static class HubSnapshot
{
    // The text that backup programs look for: https://bford.info/cachedir/
    private const string CacheTag = "Signature: 8a477f597d28d172789f06886806bc55\n# This file is a cache directory tag.\n";

    /// <summary>Whether a snapshot has a file, whole.</summary>
    public static bool Has(string snapshot, HubFile file)
    {
        FileInfo info = new(PathOf(snapshot, file));
        if (info.LinkTarget is not null)
            info = info.ResolveLinkTarget(returnFinalTarget: true) as FileInfo ?? info;
        // A link whose blob is gone resolves to a file that is not there.
        return info.Exists && (file.Size is not { } size || info.Length == size);
    }

    /// <summary>Puts the files that it lacks into a snapshot.</summary>
    /// <param name="snapshot">Its folder, which may be there.</param>
    /// <param name="blobs">Where the blobs lie.</param>
    /// <param name="files">Files and the names of their blobs.</param>
    /// <param name="links">Links where the system lets us make them; false: the blobs move here, and are copied where several files share one.</param>
    public static void Write(string snapshot, string blobs, IReadOnlyList<(HubFile File, string Etag)> files, bool links)
    {
        string parent = Path.GetDirectoryName(snapshot)!;
        Directory.CreateDirectory(parent);
        if (Directory.Exists(snapshot))
        {
            Fill(snapshot, snapshot, blobs, files, links);
            return;
        }
        string temporary = Path.Combine(parent, $".{Path.GetFileName(snapshot)}.{Guid.NewGuid():N}{AtomicFile.TemporaryExtension}");
        try
        {
            Fill(temporary, snapshot, blobs, files, links);
            if (!Directory.Exists(snapshot))
            {
                Directory.Move(temporary, snapshot);
                return;
            }
        }
        catch (IOException) when (Directory.Exists(snapshot))
        {
            // Another pull of the same commit was first.
        }
        finally
        {
            if (Directory.Exists(temporary))
                Directory.Delete(temporary, recursive: true);
        }
        Fill(snapshot, snapshot, blobs, files, links);
    }

    /// <summary>Makes a revision stand for a commit.</summary>
    public static void WriteRef(string reference, string commit)
    {
        if (File.Exists(reference) && File.ReadAllText(reference) == commit)
            return;
        Directory.CreateDirectory(Path.GetDirectoryName(reference)!);
        AtomicFile.WriteText(reference, commit);
    }

    /// <summary>Tags the cache's folder for programs that make backups.</summary>
    public static void Tag(string cache)
    {
        string file = Path.Combine(cache, "CACHEDIR.TAG");
        if (!File.Exists(file))
            AtomicFile.WriteText(file, CacheTag);
    }

    // Links are relative to where the folder will stand.
    private static void Fill(string folder, string final, string blobs, IReadOnlyList<(HubFile File, string Etag)> files, bool links)
    {
        Dictionary<string, int> uses = files.GroupBy(f => f.Etag).ToDictionary(g => g.Key, g => g.Count());
        foreach ((HubFile file, string etag) in files)
        {
            uses[etag]--;
            string pointer = PathOf(folder, file), blob = Path.Combine(blobs, etag);
            if (Has(folder, file))
                continue;
            Directory.CreateDirectory(Path.GetDirectoryName(pointer)!);
            File.Delete(pointer);
            if (links && Link(pointer, Path.GetRelativePath(Path.GetDirectoryName(PathOf(final, file))!, blob)))
                continue;
            links = false;
            if (uses[etag] == 0)
                File.Move(blob, pointer);
            else
            {
                string copy = pointer + "." + Guid.NewGuid().ToString("N") + AtomicFile.TemporaryExtension;
                File.Copy(blob, copy);
                File.Move(copy, pointer);
            }
        }
    }

    private static bool Link(string pointer, string target)
    {
        try
        {
            File.CreateSymbolicLink(pointer, target);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException && !File.Exists(pointer))
        {
            // Windows asks for a right that few users have.
            return false;
        }
    }

    private static string PathOf(string folder, HubFile file) => Path.Combine([folder, .. file.Name.Split('/')]);
}
