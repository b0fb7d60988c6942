using System.Security.Cryptography;
using EdgeLora.Core;

namespace EdgeLora;

/// <summary>An adapter's files on their way to a host: one after the other, each in chunks, each with its SHA-256.</summary>
internal sealed class PushUpload : IDisposable
{
    // What an adapter's folder is read from: anything else has no business there.
    private static readonly string[] s_names = [.. AdapterFormats.All.SelectMany(f => f.Files).Distinct()];

    private readonly List<(string Name, long Bytes, string Sha256)> _files = [];
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private FileStream? _open;
    private int _at;

    /// <param name="folder">Where they go.</param>
    /// <param name="target">The place in the tree, for who commits it.</param>
    /// <param name="files">Maps of name, bytes, sha256.</param>
    /// <param name="mostBytes">Bytes of all together.</param>
    public PushUpload(string folder, PushTarget target, IReadOnlyList<LinkMessage> files, long mostBytes)
    {
        (Folder, Target) = (folder, target);
        long left = mostBytes;
        foreach (LinkMessage file in files)
        {
            string name = file.Text("name"), sum = file.Text("sha256");
            if (!s_names.Contains(name) || _files.Exists(f => f.Name == name))
                throw new LinkException(LinkErrorKind.Usage, $"files: expected each of {string.Join(", ", s_names)} at most once, found '{LinkText.Short(name)}'");
            if (sum.Length != 64 || !sum.All(char.IsAsciiHexDigitLower))
                throw new LinkException(LinkErrorKind.Usage, $"{name}: sha256: expected 64 hex digits in lower case");
            long bytes = file.Number("bytes", 1);
            if (bytes > left)
                throw new LinkException(LinkErrorKind.Usage, $"{name}: {bytes} bytes; {left} of the {mostBytes} that a push may have are left");
            left -= bytes;
            _files.Add((name, bytes, sum));
        }
        if (_files.Count == 0)
            throw new LinkException(LinkErrorKind.Usage, "files: expected at least one");
    }

    /// <summary>Where the files are.</summary>
    public string Folder { get; }

    /// <summary>The place in the tree.</summary>
    public PushTarget Target { get; }

    /// <summary>The files of an adapter's folder or file, with the names that they have in a folder. Throws <see cref="ModelFileException"/> where there is no adapter.</summary>
    public static IReadOnlyList<(string Name, string Path)> FilesOf(string adapter)
    {
        if (AdapterFormats.Find(adapter) is not { } format)
            throw new ModelFileException(adapter, Directory.Exists(adapter) ? $"holds no adapter: expected one of {string.Join(", ", AdapterFormats.NodeFiles)}" : "no such adapter folder or file");
        if (File.Exists(adapter))
            return format.NodeFile is { } name ? [(name, adapter)] : throw new ModelFileException(adapter, $"{format.Title} is no node of a tree: convert it");
        return [.. format.FilesOf(adapter).Select(n => (n, Path.Combine(adapter, n)))];
    }

    /// <summary>Takes the next bytes. Throws <see cref="LinkException"/> where they are not the next, or a file's checksum is another.</summary>
    /// <param name="file">Index of the file.</param>
    /// <param name="offset">Of the bytes in it.</param>
    /// <param name="data">The bytes.</param>
    /// <param name="cancellation">Stops it.</param>
    public async Task AddAsync(long file, long offset, ReadOnlyMemory<byte> data, CancellationToken cancellation)
    {
        long written = _open?.Position ?? 0;
        if (_at == _files.Count || file != _at || offset != written || data.Length == 0 || data.Length > _files[_at].Bytes - written)
            throw new LinkException(LinkErrorKind.Usage, _at == _files.Count ? "chunk: all files are there" : $"chunk: expected file {_at} from byte {written}, at most {_files[_at].Bytes - written}; found file {file} from byte {offset}, {data.Length}");
        (string name, long bytes, string expected) = _files[_at];
        _open ??= new(Path.Combine(Folder, name), FileMode.CreateNew, FileAccess.Write, FileShare.None);
        await _open.WriteAsync(data, cancellation).ConfigureAwait(false);
        _hash.AppendData(data.Span);
        if (_open.Position < bytes)
            return;
        await _open.DisposeAsync().ConfigureAwait(false);
        (_open, _at) = (null, _at + 1);
        string found = Convert.ToHexStringLower(_hash.GetHashAndReset());
        if (found != expected)
            throw new LinkException(LinkErrorKind.Refused, $"{name}: sha256: expected {expected}, found {found}");
    }

    /// <summary>Throws <see cref="LinkException"/> where files are missing.</summary>
    public void RequireWhole()
    {
        if (_at < _files.Count)
            throw new LinkException(LinkErrorKind.Usage, $"{_files[_at].Name}: expected {_files[_at].Bytes} bytes, found {_open?.Position ?? 0}");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _open?.Dispose();
        _hash.Dispose();
    }
}
