using System;
using System.Buffers;
using System.IO;
using System.IO.Pipelines;
using System.Linq;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using BenchmarkDotNet.Attributes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Endpoints;
using TokenService.Grants;
using TokenService.Keys;
using TokenService.Protocol;
using TokenService.Scopes;
using TokenService.Storage;
using TokenService.Tokens;

namespace Micro;

/// <summary>
/// The parts of one token request of a client with <c>client_secret_basic</c> and two scopes of one resource, each by itself, in the order in
/// which a request meets them, and the whole of it but for the web server. All that a part returns is checked once before it is measured.
/// </summary>
[MemoryDiagnoser]
public class Parts
{
    private const string ClientId = "reporting-job";
    private const string Secret = "hJ4xk2Qm9Vt7Zc1Lw8Rb5Ny3Gd6Pf0Sa2Ue4Oi7Ml9Kj";
    private const string Scope = "catalog.search catalog.read";
    private const string Issuer = "https://auth.example.com";
    private const string File = $$"""
        { "resources": [ { "resource": "https://catalog.example.com", "scopes": [ { "name": "catalog.search" }, { "name": "catalog.read" } ] } ],
          "clients": [ { "client_id": "{{ClientId}}", "client_secret": "{{Secret}}", "scope": "{{Scope}}" } ] }
        """;

    private static readonly DateTimeOffset s_now = DateTimeOffset.FromUnixTimeSeconds(1_800_000_000);

    private readonly byte[] _form = Encoding.ASCII.GetBytes("grant_type=client_credentials&scope=catalog.search+catalog.read");
    private readonly string _folder = Directory.CreateTempSubdirectory("token-service-micro-").FullName;
    private readonly string _header = "Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes($"{ClientId}:{Secret}"));
    private readonly SigningKey _rsa = SigningKey.Generate("RS256");
    private readonly SigningKey _ec = SigningKey.Generate("ES256");
    private readonly byte[] _signature = new byte[256];
    private readonly ClientCredentialsGrant _grant = new ClientCredentialsGrant(TimeSpan.FromMinutes(10));

    private WebApplication _service = null!;
    private RequestDelegate _endpoint = null!;
    private Registry _registry = null!;
    private SigningKeyRing _keys = null!;
    private TokenRequest _request = null!;
    private AuthenticatedClient _client = null!;
    private GrantedToken _granted = null!;
    private byte[] _content = null!;
    private TokenResponse _response = null!;
    private SentCredentials _sent = null!;

    /// <summary>Makes the service with its store, and checks that each part succeeds.</summary>
    [GlobalSetup]
    public async Task Setup()
    {
        var file = Path.Combine(_folder, "clients.json");
        await System.IO.File.WriteAllTextAsync(file, File);
        _service = TokenService.Program.CreateService(
            [
                "--environment=Development", $"--contentRoot={_folder}", "--Logging:LogLevel:Default=None", $"--TokenService:Issuer={Issuer}",
                "--TokenService:SigningAlgorithm=ES256", $"--TokenService:ApplyFile={file}",
            ],
            TimeProvider.System);
        _endpoint = ((IEndpointRouteBuilder)_service).DataSources.SelectMany(source => source.Endpoints).OfType<RouteEndpoint>()
            .Single(endpoint => endpoint.RoutePattern.RawText == "/oauth2/token").RequestDelegate!;
        _registry = _service.Services.GetRequiredService<StoreWatch>().Current.Registry;
        _keys = _service.Services.GetRequiredService<StoreWatch>().Current.Keys;

        _request = Right((await ReadRequest()).ToTokenRequest());
        Check(_request.Scope == Scope && _request.GrantType == "client_credentials" && ParseForm() == 2);
        _sent = Right(ReadBasic());
        Check(CompareSecret() == SecretMatch.Valid);
        _client = new AuthenticatedClient(_registry.FindClient(ClientId)!, "");
        Check(Right(DecideScopes()) is { Names.Length: 2, Audience.Length: 1 });
        _granted = Right(Decide());
        Check(_granted.Scopes.SequenceEqual(Scope.Split(' ')));
        WriteClaims();
        _content = JsonBuffer.End().ToArray();
        Check(_content.Length > 200);
        foreach (var key in (SigningKey[])[_rsa, _ec])
        {
            Sign(key);
            Check(key.Verifies(_content, _signature[..key.SignatureLength]));
        }

        _response = IssueES256();
        Check(_response.AccessToken.Length > 400 && IssueRS256().AccessToken.Length > 600);
        Check((await WriteResponse()).StatusCode == 200 && (await WholeRequest()).StatusCode == 200);
        using var body = new MemoryStream();
        await _endpoint(Http(body));
        Check(Encoding.ASCII.GetString(body.ToArray()).StartsWith("{\"access_token\":\"ey", StringComparison.Ordinal));
    }

    /// <summary>Takes it all away.</summary>
    [GlobalCleanup]
    public async Task Cleanup()
    {
        await _service.StopAsync();
        await _service.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>What the benchmarks that need an HTTP request spend on having one: to be taken off them.</summary>
    [Benchmark]
    public object HttpAlone() => Http(null);

    /// <summary>The bytes of the form to names and values.</summary>
    [Benchmark]
    public int ParseForm() => FormUrlEncoded.TryParse(_form, out var fields, out _) ? fields.Count : 0;

    /// <summary>The request off the pipe, with its checks, to parameters.</summary>
    [Benchmark]
    public async ValueTask<RequestParameters> ReadRequest() => Right(await RequestForm.Read(Http(null).Request, null, CancellationToken.None));

    /// <summary>The Authorization header to client id and secret.</summary>
    [Benchmark]
    public Result<SentCredentials> ReadBasic() => ClientSecretBasic.Read(new Secret(_header));

    /// <summary>The secret against the client's.</summary>
    [Benchmark]
    public SecretMatch CompareSecret() => ClientSecret.Match(_sent.Readings[0].Secret, _registry.FindClient(ClientId)!.Secrets, s_now, out _);

    /// <summary>Which scopes and audience it gets.</summary>
    [Benchmark]
    public Result<GrantedScopes> DecideScopes() => ScopePolicy.Decide(_client.Client, _request.Scope, _request.Resources, _registry);

    /// <summary>The grant, with the scope policy in it.</summary>
    [Benchmark]
    public Result<GrantedToken> Decide() => _grant.Decide(_request, _client, _registry, _keys, s_now);

    /// <summary>The claims as JSON, without a signature.</summary>
    [Benchmark]
    public int WriteClaims()
    {
        AccessTokenClaims.Write(JsonBuffer.Begin(), _granted, Scope, Issuer, "0123456789012345678901"u8, s_now);
        return JsonBuffer.End().Length;
    }

    /// <summary>The signature alone, RSA-2048.</summary>
    [Benchmark]
    public byte SignRS256() => Sign(_rsa);

    /// <summary>The signature alone, P-256.</summary>
    [Benchmark]
    public byte SignES256() => Sign(_ec);

    /// <summary>The signed token, RS256.</summary>
    [Benchmark]
    public TokenResponse IssueRS256() => AccessTokenIssuer.Issue(_granted, Issuer, _rsa, s_now);

    /// <summary>The signed token, ES256.</summary>
    [Benchmark]
    public TokenResponse IssueES256() => AccessTokenIssuer.Issue(_granted, Issuer, _ec, s_now);

    /// <summary>The answer to the response pipe.</summary>
    [Benchmark]
    public async Task<HttpResponse> WriteResponse()
    {
        var http = Http(null);
        await OAuthResults.Write(http, _response);
        return http.Response;
    }

    /// <summary>The endpoint from the request to the answer, ES256, with the limits and notes that belong to it; without the web server.</summary>
    [Benchmark]
    public async Task<HttpResponse> WholeRequest()
    {
        var http = Http(null);
        await _endpoint(http);
        return http.Response;
    }

    private byte Sign(SigningKey key)
    {
        key.Sign(_content, _signature.AsSpan(0, key.SignatureLength));
        return _signature[0];
    }

    private DefaultHttpContext Http(Stream? answer)
    {
        var http = new DefaultHttpContext();
        http.Features.Set<IRequestBodyPipeFeature>(new Body(new ReadOnlySequence<byte>(_form)));
        http.Features.Set<IHttpResponseBodyFeature>(new StreamResponseBodyFeature(answer ?? Stream.Null));
        http.Request.Method = "POST";
        http.Request.Path = "/oauth2/token";
        http.Request.ContentType = "application/x-www-form-urlencoded";
        http.Request.Headers.Authorization = _header;
        return http;
    }

    private static T Right<T>(Result<T> result)
        where T : class
        => result.Refused(out var error, out var value) ? throw new InvalidOperationException(error.Reason) : value;

    private static void Check(bool right)
    {
        if (!right)
        {
            throw new InvalidOperationException("A part does not do what it is measured for.");
        }
    }

    private sealed class Body(ReadOnlySequence<byte> content) : IRequestBodyPipeFeature
    {
        public PipeReader Reader { get; } = PipeReader.Create(content);
    }
}
