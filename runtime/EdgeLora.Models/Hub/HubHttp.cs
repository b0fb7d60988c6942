using System.Net;
using System.Net.Http.Headers;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// Asks a hub. Redirects are followed by hand: the token goes to the hub's own address only, a storage that a file lies on never sees it, and from https nothing leads back to http.
/// Codes and headers as huggingface_hub reads them (utils/_http.py: hf_raise_for_status).
/// </summary>
internal sealed class HubHttp : IDisposable
{
    private const int MostRedirects = 10;
    private const long MostListBytes = 64 << 20;

    private readonly HubOptions _options;
    private readonly Uri _endpoint;
    private readonly HttpClient _client;

    /// <summary>A client of the options' hub. Throws <see cref="HubException"/> for an endpoint or a token that cannot be sent.</summary>
    public HubHttp(HubOptions options)
    {
        _options = options;
        _endpoint = Uri.TryCreate(options.Endpoint, UriKind.Absolute, out Uri? uri) && uri.Scheme is "https" or "http" ? uri
            : throw new HubException(HubErrorKind.Failed, $"HF_ENDPOINT: expected an address such as {HubOptions.DefaultEndpoint}, found '{options.Endpoint}'");
        if (options.Token?.All(c => c is > ' ' and < '\u007f') == false)
            throw new HubException(HubErrorKind.Denied, "the token holds blanks or characters that no token has");
        // What is compressed on the way has another length and cannot be resumed.
        _client = new(new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false, AutomaticDecompression = DecompressionMethods.None, ConnectTimeout = options.Timeout }) { Timeout = System.Threading.Timeout.InfiniteTimeSpan };
        _client.DefaultRequestHeaders.UserAgent.Add(new("edgelora", typeof(HubHttp).Assembly.GetName().Version?.ToString(3)));
        _client.DefaultRequestHeaders.AcceptEncoding.Add(new("identity"));
    }

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();

    /// <summary>The model's files at its revision.</summary>
    public async Task<HubFiles> ListAsync(HubModel model, CancellationToken cancellation)
    {
        string address = $"{_options.Endpoint}/api/models/{model.Id}/revision/{Uri.EscapeDataString(model.Revision)}?blobs=true";
        using HttpResponseMessage response = await PatientAsync(HttpMethod.Get, new(address), model, cancellation).ConfigureAwait(false);
        using MemoryStream bytes = new();
        byte[] piece = new byte[1 << 16];
        using Stream body = await response.Content.ReadAsStreamAsync(cancellation).ConfigureAwait(false);
        try
        {
            for (int read; (read = await ReadAsync(body, piece, cancellation).ConfigureAwait(false)) > 0;)
            {
                bytes.Write(piece, 0, read);
                if (bytes.Length > MostListBytes)
                    throw new HubException(HubErrorKind.Failed, $"{model}: the hub's list of files is larger than {MostListBytes >> 20} MiB");
            }
        }
        catch (Exception e) when (IsCut(e, cancellation))
        {
            throw Unreachable(e);
        }
        return HubFiles.Read($"{model}, as {_endpoint.Authority} lists it", bytes.ToArray());
    }

    /// <summary>What the hub says of one file at a commit.</summary>
    /// <returns>ETag without its quotes, bytes where it says, and the commit where it says.</returns>
    public async Task<(string? Etag, long? Size, string? Commit)> HeadAsync(HubModel model, string commit, string file, CancellationToken cancellation)
    {
        using HttpResponseMessage response = await PatientAsync(HttpMethod.Head, FileUri(model, commit, file), model, cancellation, metadataOnly: true).ConfigureAwait(false);
        string? etag = Header(response, "X-Linked-Etag") ?? Header(response, "ETag");
        etag = etag?.StartsWith("W/", StringComparison.Ordinal) == true ? etag[2..] : etag;
        long? size = long.TryParse(Header(response, "X-Linked-Size"), out long linked) ? linked : IsRedirect(response) ? null : response.Content.Headers.ContentLength;
        return (etag?.Trim('"'), size, Header(response, "X-Repo-Commit"));
    }

    /// <summary>A file's bytes from an offset on. The caller looks at the status: 200 is all of it, 206 what was asked for, 416 an offset past its end.</summary>
    public async Task<HttpResponseMessage> GetAsync(HubModel model, string commit, string file, long from, CancellationToken cancellation)
    {
        HttpResponseMessage response = await SendAsync(HttpMethod.Get, FileUri(model, commit, file), from, metadataOnly: false, cancellation).ConfigureAwait(false);
        if (response.StatusCode is HttpStatusCode.OK or HttpStatusCode.PartialContent or HttpStatusCode.RequestedRangeNotSatisfiable)
            return response;
        using (response)
            throw IsBusy(response) ? new HttpRequestException($"answers {(int)response.StatusCode}", null, response.StatusCode) : Refusal(response, model, file);
    }

    /// <summary>The next bytes of a body; throws <see cref="TimeoutException"/> when none come for the options' time.</summary>
    public async Task<int> ReadAsync(Stream body, Memory<byte> piece, CancellationToken cancellation)
    {
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(_options.Timeout);
        try
        {
            return await body.ReadAsync(piece, limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new TimeoutException($"nothing came for {_options.Timeout.TotalSeconds:0.#} s");
        }
    }

    /// <summary>Whether a download broke off in a way that another try may mend.</summary>
    public static bool IsCut(Exception e, CancellationToken cancellation) =>
        !cancellation.IsCancellationRequested && e is HttpRequestException or HttpIOException or TimeoutException or IOException { InnerException: System.Net.Sockets.SocketException };

    /// <summary>The refusal for a hub that does not answer.</summary>
    public HubException Unreachable(Exception e) => new(HubErrorKind.Unreachable, $"{_endpoint.Authority} cannot be reached: {e.Message}", e);

    private Uri FileUri(HubModel model, string commit, string file) =>
        new($"{_options.Endpoint}/{model.Id}/resolve/{commit}/{string.Join('/', file.Split('/').Select(Uri.EscapeDataString))}");

    // A hub that is busy or stumbles is asked again.
    private async Task<HttpResponseMessage> PatientAsync(HttpMethod method, Uri uri, HubModel model, CancellationToken cancellation, bool metadataOnly = false)
    {
        for (int attempt = 0; ; attempt++)
        {
            HttpResponseMessage response;
            try
            {
                response = await SendAsync(method, uri, 0, metadataOnly, cancellation).ConfigureAwait(false);
            }
            catch (Exception e) when (IsCut(e, cancellation))
            {
                throw Unreachable(e);
            }
            if (response.IsSuccessStatusCode || (metadataOnly && IsRedirect(response)))
                return response;
            using (response)
                if (!IsBusy(response) || attempt >= _options.Retries)
                    throw Refusal(response, model, null);
            await Task.Delay(_options.RetryDelay, cancellation).ConfigureAwait(false);
        }
    }

    private async Task<HttpResponseMessage> SendAsync(HttpMethod method, Uri uri, long from, bool metadataOnly, CancellationToken cancellation)
    {
        for (int hop = 0; ; hop++)
        {
            using HttpRequestMessage request = new(method, uri);
            if (_options.Token is { } token && SameAddress(uri, _endpoint))
                request.Headers.Authorization = new("Bearer", token);
            if (from > 0)
                request.Headers.Range = new RangeHeaderValue(from, null);
            using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            limit.CancelAfter(_options.Timeout);
            HttpResponseMessage response;
            try
            {
                response = await _client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, limit.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
            {
                throw new TimeoutException($"no answer within {_options.Timeout.TotalSeconds:0.#} s");
            }
            if (!IsRedirect(response) || response.Headers.Location is not { } location)
                return response;
            Uri next = new(uri, location);
            // The hub's own answer names the file; where its bytes lie does not matter yet.
            if (metadataOnly && (Header(response, "X-Linked-Etag") is not null || !SameAddress(next, uri)))
                return response;
            response.Dispose();
            if (hop >= MostRedirects)
                throw new HubException(HubErrorKind.Failed, $"{uri.Authority}: more than {MostRedirects} redirects");
            if (next.Scheme != Uri.UriSchemeHttps && (next.Scheme != Uri.UriSchemeHttp || uri.Scheme == Uri.UriSchemeHttps))
                throw new HubException(HubErrorKind.Unsafe, $"{uri.Authority}: leads from {uri.Scheme} to {next.Scheme}://{next.Authority}, which is not followed");
            uri = next;
        }
    }

    private HubException Refusal(HttpResponseMessage response, HubModel model, string? file)
    {
        string code = Header(response, "X-Error-Code") ?? "", page = $"{_options.Endpoint}/{model.Id}";
        string said = Header(response, "X-Error-Message") is { Length: > 0 } message ? $" (the hub: {(message.Length <= 200 ? message : message[..200] + "…")})" : "";
        string token = _options.Token is null ? "give the token of an account that may read it: HF_TOKEN, --token, or 'hf auth login'" : "the token given may not read it";
        int status = (int)response.StatusCode;
        return (code, status) switch
        {
            ("RevisionNotFound", _) => new(HubErrorKind.NotFound, $"{model}: the model has no revision '{model.Revision}'"),
            ("EntryNotFound", _) => new(HubErrorKind.NotFound, $"{model}: the model has no file '{file}' at this revision"),
            ("GatedRepo", _) => new(HubErrorKind.Denied, $"{model}: is gated: accept its terms at {page}, then {token}{said}"),
            ("RepoNotFound", _) or (_, 401) => new(HubErrorKind.Denied, $"{model}: there is no such model, or it is private: {token}{said}"),
            (_, 403) => new(HubErrorKind.Denied, $"{model}: may not be read: {token}{said}"),
            (_, 404) => new(HubErrorKind.NotFound, $"{model}: is not at {page}{said}"),
            _ => new(IsBusy(response) ? HubErrorKind.Unreachable : HubErrorKind.Failed, $"{model}: {_endpoint.Authority} answers {status} {response.ReasonPhrase}{said}"),
        };
    }

    private static bool IsBusy(HttpResponseMessage response) => (int)response.StatusCode is 408 or 429 or 500 or 502 or 503 or 504;

    private static bool IsRedirect(HttpResponseMessage response) => (int)response.StatusCode is 301 or 302 or 303 or 307 or 308;

    private static bool SameAddress(Uri a, Uri b) => a.Scheme == b.Scheme && a.Authority.Equals(b.Authority, StringComparison.OrdinalIgnoreCase);

    private static string? Header(HttpResponseMessage response, string name) => response.Headers.TryGetValues(name, out IEnumerable<string>? values) ? values.FirstOrDefault() : null;
}
