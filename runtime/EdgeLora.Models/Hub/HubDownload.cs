using System.Net;
using System.Security.Cryptography;

namespace EdgeLora.Models;

/// <summary>
/// One blob: downloaded into <c>blobs/&lt;etag&gt;.incomplete</c>, resumed there after a cut or in a later pull, checked, and given its name by one rename. The lock is huggingface_hub's
/// (<c>.locks/&lt;folder&gt;/&lt;etag&gt;.lock</c>), so that two pulls, theirs or ours, do not write one file.
/// </summary>
internal sealed class HubDownload(HubHttp http, HubOptions options, HubModel model, string commit, string blobs, string locks)
{
    /// <summary>Makes sure that a file's blob is there.</summary>
    /// <param name="file">What to download.</param>
    /// <param name="etag">The blob's name: the sha-256 of a large file, git's sha-1 of another.</param>
    /// <param name="size">Bytes.</param>
    /// <param name="progress">Told of bytes that came, or were dropped (below zero).</param>
    /// <param name="cancellation">Ends it; what came stays for resuming.</param>
    /// <returns>Bytes that came over the network; 0: it was there.</returns>
    public async Task<long> FetchAsync(HubFile file, string etag, long size, Action<long> progress, CancellationToken cancellation)
    {
        string blob = Path.Combine(blobs, etag);
        if (IsThere(blob, size, progress))
            return 0;
        using FileStream held = await LockAsync(Path.Combine(locks, etag + ".lock"), cancellation).ConfigureAwait(false);
        if (IsThere(blob, size, progress))
            return 0;
        string partial = blob + ".incomplete";
        long came = 0;
        while (true)
        {
            bool resumed;
            string? fault;
            using (FileStream stream = new(partial, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, 1))
            {
                if (stream.Length > size)
                    stream.SetLength(0);
                resumed = stream.Length > 0;
                using Sums sums = new(size);
                await sums.AddAllAsync(stream, cancellation).ConfigureAwait(false);
                progress(stream.Length);
                (long more, resumed) = await FillAsync(file, stream, sums, size, resumed, progress, cancellation).ConfigureAwait(false);
                came += more;
                stream.Flush(flushToDisk: true);
                fault = sums.Fault(etag, file.Sha256);
            }
            if (fault is null)
            {
                File.Move(partial, blob, overwrite: true);
                return came;
            }
            File.Delete(partial);
            // What lay there may have been spoilt by a crash; what came in one piece was not.
            if (!resumed)
                throw new HubException(HubErrorKind.Corrupt, $"{model}: {file.Name}: {fault}; nothing of it is kept");
            progress(-size);
        }
    }

    private static bool IsThere(string blob, long size, Action<long> progress)
    {
        bool there = File.Exists(blob);
        if (there)
            progress(size);
        return there;
    }

    // Appends until the stream holds size bytes. Resumed: whether some of them were there before.
    private async Task<(long Came, bool Resumed)> FillAsync(HubFile file, FileStream stream, Sums sums, long size, bool resumed, Action<long> progress, CancellationToken cancellation)
    {
        byte[] piece = new byte[1 << 20];
        long came = 0;
        for (int failures = 0; stream.Length < size;)
        {
            try
            {
                using HttpResponseMessage response = await http.GetAsync(model, commit, file.Name, stream.Length, cancellation).ConfigureAwait(false);
                bool partial = response.StatusCode == HttpStatusCode.PartialContent && response.Content.Headers.ContentRange is { } range && range.From == stream.Length && (range.Length ?? size) == size;
                if (stream.Length > 0 && !partial)
                {
                    // The server does not resume, or what it has now is another length.
                    progress(-stream.Length);
                    stream.SetLength(0);
                    sums.Reset();
                    resumed = false;
                    if (response.StatusCode != HttpStatusCode.OK)
                    {
                        failures = Failed(failures, new HttpRequestException($"answers {(int)response.StatusCode} to a resumed download"));
                        continue;
                    }
                }
                else if (stream.Length == 0 && response.StatusCode != HttpStatusCode.OK)
                    throw new HubException(HubErrorKind.Failed, $"{model}: {file.Name}: the hub answers {(int)response.StatusCode} to a whole download");
                using Stream body = await response.Content.ReadAsStreamAsync(cancellation).ConfigureAwait(false);
                for (int read; (read = await http.ReadAsync(body, piece, cancellation).ConfigureAwait(false)) > 0;)
                {
                    if (stream.Length + read > size)
                    {
                        stream.SetLength(0);
                        throw new HubException(HubErrorKind.Corrupt, $"{model}: {file.Name}: expected {size} bytes, found more; nothing of it is kept");
                    }
                    stream.Write(piece, 0, read);
                    sums.Add(piece.AsSpan(0, read));
                    progress(read);
                    came += read;
                    failures = 0;
                }
                if (stream.Length < size)
                    failures = Failed(failures, new HttpRequestException($"ends after {stream.Length} of {size} bytes of {file.Name}"));
            }
            catch (Exception e) when (HubHttp.IsCut(e, cancellation))
            {
                failures = Failed(failures, e);
            }
            if (failures > 0)
                await Task.Delay(options.RetryDelay, cancellation).ConfigureAwait(false);
        }
        return (came, resumed);
    }

    private int Failed(int failures, Exception e) => failures < options.Retries ? failures + 1
        : throw new HubException(HubErrorKind.Unreachable, $"{model}: {http.Unreachable(e).Message}; what came is kept, the next pull goes on there", e);

    private static async Task<FileStream> LockAsync(string path, CancellationToken cancellation)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        while (true)
        {
            try
            {
                return new(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1);
            }
            catch (IOException e) when (e is not (DirectoryNotFoundException or PathTooLongException) && File.Exists(path))
            {
                await Task.Delay(TimeSpan.FromMilliseconds(100), cancellation).ConfigureAwait(false);
            }
        }
    }

    /// <summary>The two sums that a hub names its blobs by, over bytes as they come.</summary>
    private sealed class Sums(long size) : IDisposable
    {
        private readonly IncrementalHash _sha256 = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private IncrementalHash _git = Git(size);

        public void Dispose()
        {
            _sha256.Dispose();
            _git.Dispose();
        }

        public async Task AddAllAsync(FileStream stream, CancellationToken cancellation)
        {
            byte[] piece = new byte[1 << 20];
            stream.Position = 0;
            for (int read; (read = await stream.ReadAsync(piece, cancellation).ConfigureAwait(false)) > 0;)
                Add(piece.AsSpan(0, read));
        }

        public void Add(ReadOnlySpan<byte> bytes)
        {
            _sha256.AppendData(bytes);
            _git.AppendData(bytes);
        }

        public void Reset()
        {
            _sha256.GetHashAndReset();
            _git.Dispose();
            _git = Git(size);
        }

        /// <summary>Why the bytes are not those that were asked for; null: they are. A server that names blobs its own way is believed on their length.</summary>
        public string? Fault(string etag, string? listed)
        {
            string found = Convert.ToHexStringLower(_sha256.GetCurrentHash());
            string? expected = listed ?? (IsHex(etag, 64) ? etag : null);
            if (expected is not null)
                return found == expected ? null : $"sha256: expected {expected}, found {found}";
            string git = Convert.ToHexStringLower(_git.GetCurrentHash());
            return !IsHex(etag, 40) || git == etag ? null : $"git's sha1: expected {etag}, found {git}";
        }

        // git hash-object: the length stands before the bytes.
        private static IncrementalHash Git(long size)
        {
            IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA1);
            hash.AppendData(System.Text.Encoding.ASCII.GetBytes(FormattableString.Invariant($"blob {size}\0")));
            return hash;
        }

        private static bool IsHex(string text, int length) => text.Length == length && text.All(char.IsAsciiHexDigitLower);
    }
}
