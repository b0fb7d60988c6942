using System.Text.RegularExpressions;

namespace EdgeLora.Models;

/// <summary>A model that was pulled.</summary>
/// <param name="Folder">Its snapshot's folder.</param>
/// <param name="Path">What a verb or a host opens: the folder, or the one file that it comes down to.</param>
/// <param name="Commit">The commit that the revision stands for.</param>
/// <param name="Files">Its files, with slashes.</param>
/// <param name="DownloadedBytes">Bytes that came over the network; 0 where all of it was there.</param>
public sealed record PulledModel(string Folder, string Path, string Commit, IReadOnlyList<string> Files, long DownloadedBytes);

/// <summary>Brings a model from a hub into the cache.</summary>
public static partial class HubPull
{
    // Windows: ERROR_DISK_FULL and ERROR_HANDLE_DISK_FULL; elsewhere ENOSPC and EDQUOT of Linux and macOS.
    private static readonly int[] s_diskFull = OperatingSystem.IsWindows() ? [unchecked((int)0x80070070), unchecked((int)0x80070027)] : OperatingSystem.IsLinux() ? [28, 122] : [28, 69];

    /// <summary>
    /// Pulls a model: asks which commit its revision is and which files it has, downloads those that are not there (resuming what was cut), checks every one, then puts the snapshot together and points the revision at it.
    /// Offline it finds the model in the cache, or throws. Throws <see cref="HubException"/>; what came stays for the next try.
    /// </summary>
    /// <param name="model">What to pull.</param>
    /// <param name="options">Hub and cache.</param>
    /// <param name="selection">Which files.</param>
    /// <param name="progress">Told of bytes that are there and bytes in all; null: nobody is.</param>
    /// <param name="cancellation">Ends it.</param>
    public static async Task<PulledModel> PullAsync(HubModel model, HubOptions options, HubSelection selection, Action<long, long>? progress = null, CancellationToken cancellation = default)
    {
        HubCache cache = new(options);
        if (options.Offline)
        {
            string commit = cache.CommitOf(model) ?? throw new HubException(HubErrorKind.Offline, $"{model}: is not in the cache {options.CacheFolder}, and HF_HUB_OFFLINE forbids to ask for it");
            string there = cache.SnapshotOf(model, commit);
            return new(there, HubCache.FileOf(model, there), commit, [.. FilesOf(there)], 0);
        }
        try
        {
            using HubHttp http = new(options);
            return await PullAsync(http, cache, model, options, selection, progress, cancellation).ConfigureAwait(false);
        }
        catch (IOException e) when (s_diskFull.Contains(e.HResult))
        {
            throw new HubException(HubErrorKind.DiskFull, $"{model}: the disk of {options.CacheFolder} is full; what came is kept, the next pull goes on there", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new HubException(HubErrorKind.Failed, $"{model}: the cache {options.CacheFolder} cannot be written: {e.Message}", e);
        }
    }

    private static async Task<PulledModel> PullAsync(HubHttp http, HubCache cache, HubModel model, HubOptions options, HubSelection selection, Action<long, long>? progress, CancellationToken cancellation)
    {
        HubFiles list = await http.ListAsync(model, cancellation).ConfigureAwait(false);
        if (model.IsCommit && list.Commit != model.Revision)
            throw new HubException(HubErrorKind.Unsafe, $"{model}: the hub answers with another commit, {list.Commit}");
        IReadOnlyList<HubFile> chosen = list.Select(model, selection);
        string snapshot = cache.SnapshotOf(model, list.Commit), folder = cache.FolderOf(model), blobs = Path.Combine(folder, "blobs");
        HubFile[] missing = [.. chosen.Where(f => !HubSnapshot.Has(snapshot, f))];
        long came = 0;
        if (missing.Length > 0)
        {
            Directory.CreateDirectory(blobs);
            HubSnapshot.Tag(options.CacheFolder);
            string locks = Path.Combine(options.CacheFolder, ".locks", HubCache.FolderName(model));
            (HubFile File, string Etag)[] named = await NameAsync(http, model, list.Commit, missing, options, cancellation).ConfigureAwait(false);
            (HubFile File, string Etag)[] distinct = [.. named.DistinctBy(n => n.Etag)];
            Progress count = new(distinct.Sum(n => n.File.Size!.Value), progress);
            RequireRoom(model, options, blobs, distinct);
            HubDownload download = new(http, options, model, list.Commit, blobs, locks);
            await Parallel.ForEachAsync(distinct, new ParallelOptions { MaxDegreeOfParallelism = options.Parallel, CancellationToken = cancellation }, async (next, cancel) =>
            {
                long bytes = await download.FetchAsync(next.File, next.Etag, next.File.Size!.Value, count.Add, cancel).ConfigureAwait(false);
                Interlocked.Add(ref came, bytes);
            }).ConfigureAwait(false);
            HubSnapshot.Write(snapshot, blobs, named, options.Symlinks);
        }
        if (!model.IsCommit)
            HubSnapshot.WriteRef(cache.RefOf(model), list.Commit);
        return new(snapshot, HubCache.FileOf(model, snapshot), list.Commit, [.. chosen.Select(f => f.Name)], came);
    }

    // Each file's blob and length, from the hub's own answer for it.
    private static async Task<(HubFile File, string Etag)[]> NameAsync(HubHttp http, HubModel model, string commit, HubFile[] files, HubOptions options, CancellationToken cancellation)
    {
        (HubFile File, string Etag)[] named = new (HubFile, string)[files.Length];
        await Parallel.ForAsync(0, files.Length, new ParallelOptions { MaxDegreeOfParallelism = options.Parallel, CancellationToken = cancellation }, async (i, cancel) =>
        {
            HubFile file = files[i];
            (string? etag, long? size, string? at) = await http.HeadAsync(model, commit, file.Name, cancel).ConfigureAwait(false);
            if (at is not null && at != commit)
                throw new HubException(HubErrorKind.Unsafe, $"{model}: {file.Name}: asked for commit {commit}, the hub answers with {at}");
            // The blob's file takes this name.
            if (etag is null || !EtagPattern().IsMatch(etag))
                throw new HubException(HubErrorKind.Unsafe, $"{model}: {file.Name}: expected an ETag of letters and digits, found '{etag}'; is this a hub?");
            if ((size ?? file.Size) is not { } bytes || (file.Size is { } listed && bytes != listed))
                throw new HubException(HubErrorKind.Corrupt, $"{model}: {file.Name}: expected {file.Size?.ToString() ?? "a length in"} bytes, the hub answers with {size?.ToString() ?? "none"}");
            if (file.Sha256 is { } sum && etag.Length == sum.Length && etag != sum)
                throw new HubException(HubErrorKind.Corrupt, $"{model}: {file.Name}: the list has sha256 {sum}, the file's own answer {etag}");
            named[i] = (file with { Size = bytes }, etag);
        }).ConfigureAwait(false);
        return named;
    }

    private static void RequireRoom(HubModel model, HubOptions options, string blobs, (HubFile File, string Etag)[] files)
    {
        long needed = files.Where(f => !File.Exists(Path.Combine(blobs, f.Etag))).Sum(f =>
        {
            FileInfo partial = new(Path.Combine(blobs, f.Etag + ".incomplete"));
            return Math.Max(0, f.File.Size!.Value - (partial.Exists ? partial.Length : 0));
        });
        if (options.FreeBytes(blobs) is { } free && free < needed)
            throw new HubException(HubErrorKind.DiskFull, FormattableString.Invariant($"{model}: needs {needed:N0} bytes in {options.CacheFolder}, whose disk has {free:N0} left"));
    }

    private static IEnumerable<string> FilesOf(string snapshot) => Directory.EnumerateFiles(snapshot, "*", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(snapshot, f).Replace('\\', '/')).Order(StringComparer.Ordinal);

    [GeneratedRegex(@"^[A-Za-z0-9_][A-Za-z0-9_-]{0,127}\z", RegexOptions.CultureInvariant)]
    private static partial Regex EtagPattern();

    private sealed class Progress(long total, Action<long, long>? report)
    {
        private readonly Lock _lock = new();
        private long _done;

        public void Add(long bytes)
        {
            lock (_lock)
                report?.Invoke(_done += bytes, total);
        }
    }
}
