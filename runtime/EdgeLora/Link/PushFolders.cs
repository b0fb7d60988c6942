using System.Globalization;
using EdgeLora.Models;

namespace EdgeLora;

/// <summary>Where pushed adapters lie as long as the host lives: one folder a push, in a temporary folder that only this user may enter.</summary>
internal sealed class PushFolders : IDisposable
{
    private readonly Lock _lock = new();
    private readonly HashSet<string> _busy = new(StringComparer.Ordinal);
    private string? _root;
    private int _pushes;

    /// <summary>A new folder <c>…/number/name</c>, kept until <see cref="Release"/>.</summary>
    public string Create(string name)
    {
        lock (_lock)
        {
            _root ??= Directory.CreateTempSubdirectory("edgelora-push-").FullName;
            string folder = Path.Combine(_root, (++_pushes).ToString(CultureInfo.InvariantCulture), name);
            Directory.CreateDirectory(folder);
            _busy.Add(Path.GetDirectoryName(folder)!);
            return folder;
        }
    }

    /// <summary>A push has ended, well or not: deletes the folders that no node has.</summary>
    public void Release(string folder, AdapterTree tree)
    {
        lock (_lock)
        {
            _busy.Remove(Path.GetDirectoryName(folder)!);
            HashSet<string?> used = [.. tree.Nodes.Select(n => Path.GetDirectoryName(n.Folder))];
            foreach (string old in Directory.GetDirectories(_root!).Where(d => !_busy.Contains(d) && !used.Contains(d)))
                Delete(old);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_lock)
            if (_root is not null)
                Delete(_root);
    }

    private static void Delete(string folder)
    {
        try
        {
            Directory.Delete(folder, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A generation that is still used is mapped, which Windows minds: the next push or the host's end tries again.
        }
    }
}
