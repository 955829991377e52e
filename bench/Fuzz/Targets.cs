using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.IO;
using System.Linq;
using System.Net;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Administration;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Commands;
using TokenService.Endpoints;
using TokenService.Keys;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Scopes;
using TokenService.Storage;
using TokenService.Tokens;

namespace Fuzz;

/// <summary>One thing that reads what strangers send.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Share">How many inputs of two hundred it gets: the more, the less one costs, so that no reader takes most of the time.</param>
/// <param name="Seeds">Right inputs.</param>
/// <param name="Change">Makes another input of one.</param>
/// <param name="Reads">Reads an input, and tells whether it took it. It throws where something is wrong with the reader.</param>
/// <param name="IsText">Whether the service gets it as text, which something before it has made of the bytes.</param>
internal sealed record Target(
    string Name, int Share, ImmutableArray<byte[]> Seeds, Func<Dice, byte[], ImmutableArray<byte[]>, byte[]> Change, Func<byte[], bool> Reads, bool IsText = false)
{
    /// <summary>An input.</summary>
    public byte[] Make(Dice dice)
    {
        var changed = Change(dice, Seeds[dice.Below(Seeds.Length)], Seeds);
        return IsText ? Mutation.Text(changed) : changed;
    }
}

/// <summary>All that reads what strangers, clients' hosts and operators send, as the service calls it, and what must hold of each whatever comes.</summary>
internal sealed class Targets : IDisposable
{
    private const int MaxHeaderBytes = 16 * 1024;

    private static readonly ImmutableArray<string> s_audiences = [Corpus.Issuer];
    private static readonly ImmutableArray<Uri> s_addresses = [new($"{Corpus.Issuer}/oauth2/token")];

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("token-service-fuzz-");
    private readonly WebApplication _service;
    private readonly Registry _registry;
    private readonly SigningKeyRing _ring;
    private readonly ClientKeySets _keySets = new(TimeProvider.System, (_, _) => { });
    private readonly KeyProtector _protector = new(new byte[32]);
    private readonly DPoPProof _dpop;
    private readonly ClientAssertionProof _assertions;
    private readonly ClientCertificateProof _certificateProof;
    private readonly RequestDelegate _certificates;
    private readonly string _authority;
    private readonly ImmutableArray<byte[]> _certificateSeeds;

    /// <summary>Makes the clients, keys and tokens that the inputs are of.</summary>
    public Targets()
    {
        var file = Path.Combine(_folder.FullName, "clients.json");
        File.WriteAllText(file, Corpus.Clients(_folder.FullName));
        _service = TokenService.Program.CreateService(
            [
                "--environment=Development", $"--contentRoot={_folder.FullName}", "--Logging:LogLevel:Default=None", $"--TokenService:Issuer={Corpus.Issuer}",
                "--TokenService:SigningAlgorithm=ES256", $"--TokenService:ApplyFile={file}",
            ],
            TimeProvider.System);
        (_registry, _ring) = (_service.Services.GetRequiredService<StoreWatch>().Current.Registry, _service.Services.GetRequiredService<StoreWatch>().Current.Keys);
        (_certificateSeeds, _authority) = Corpus.MakeCertificates();
        var authority = Path.Combine(_folder.FullName, "authority.pem");
        File.WriteAllText(authority, _authority);
        _dpop = new(() => s_addresses, new DPoPNonces(() => _protector), new Forgetful());
        _assertions = new(() => s_audiences, _keySets, new Forgetful());
        _certificateProof = new(ClientAuthorities.Load(authority), _keySets);
        _certificates = CertificateReader();
        All =
        [
            new("form", 46, Corpus.Utf8("form.txt"), (dice, seed, seeds) => Mutation.Bytes(dice, seed, seeds), ReadForm),
            new("basic", 44, [.. Corpus.Utf8("basic.txt").Select(Header)], ChangeBasic, ReadBasic),
            new("assertion", 8, Corpus.Jwts("assertion.txt"), ChangeJwt, ReadAssertion, IsText: true),
            new("explain", 1, Corpus.Jwts("assertion.txt"), ChangeJwt, Explain, IsText: true),
            new("proof", 2, Corpus.Jwts("proof.txt", _dpop.Nonce(Corpus.Now)), ChangeJwt, ReadProof, IsText: true),
            new("token", 6, AccessTokens(), (dice, seed, seeds) => Mutation.Jwt(dice, seed, seeds, SignToken), ReadToken, IsText: true),
            new("jwks", 3, Corpus.Utf8("jwks.txt"), (dice, seed, seeds) => Mutation.Json(dice, seed, seeds), ReadKeys),
            new("file", 3, Corpus.Utf8("file.txt"), (dice, seed, seeds) => Mutation.Json(dice, seed, seeds), ReadFile),
            new("words", 28, Corpus.Utf8("words.txt"), (dice, seed, seeds) => Mutation.Bytes(dice, seed, seeds), ReadWords, IsText: true),
            new("scope", 30, Corpus.Utf8("scope.txt"), (dice, seed, seeds) => Mutation.Bytes(dice, seed, seeds), ReadScope, IsText: true),
            new("text", 25, Corpus.Utf8("text.txt"), (dice, seed, seeds) => Mutation.Bytes(dice, seed, seeds), ReadText, IsText: true),
            new("certificate", 3, Fields(), ChangeField, ReadField),
            new("chain", 1, Fields(), ChangeField, ReadChain),
        ];
    }

    /// <summary>All of them.</summary>
    public ImmutableArray<Target> All { get; }

    /// <summary>Who is registered.</summary>
    public Registry Registry => _registry;

    /// <summary>Checks an assertion as the token endpoint does, but for its use a second time.</summary>
    /// <returns>The refusal, or <see langword="null"/>.</returns>
    public OAuthError? CheckAssertion(string text, string type = ClientAssertionTypes.JwtBearer)
    {
        var request = new TokenRequest { ClientAssertionType = type, ClientAssertion = new Secret(text) };
        return Now(_assertions.Check(request, _registry, Corpus.Now, CancellationToken.None)).Refused(out var error, out _) ? error : null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _keySets.Dispose();
        _protector.Dispose();
        ((IDisposable)_service).Dispose();
        _folder.Delete(recursive: true);
    }

    private static byte[] ChangeJwt(Dice dice, byte[] seed, ImmutableArray<byte[]> seeds) => Mutation.Jwt(dice, seed, seeds, Corpus.Sign);

    private static bool ReadForm(byte[] form)
    {
        if (!FormUrlEncoded.TryParse(form, out var fields, out var fault))
        {
            return Must(IsTellable(fault), "a fault that repeats what was sent") && false;
        }

        // What was read is read again from any way to write it.
        var written = string.Join('&', fields.Select(field => $"{WebUtility.UrlEncode(field.Key)}={WebUtility.UrlEncode(field.Value)}"));
        Must(FormUrlEncoded.TryParse(Encoding.ASCII.GetBytes(written), out var again, out _) && again.SequenceEqual(fields), "a form that reads otherwise when it is written again");
        if (RequestParameters.Of(fields, "").Refused(out var error, out var parameters))
        {
            return Told(error);
        }

        var isRequest = Told(parameters.ToTokenRequest().Refused(out error, out _) ? error : null);
        return Told(parameters.ToTokenQuery().Refused(out error, out _) ? error : null) || isRequest;
    }

    private static byte[] Header(byte[] pair) => Encoding.ASCII.GetBytes($"Basic {Convert.ToBase64String(pair)}");

    // The pair inside, or the header as a whole; the web server takes no longer headers.
    private static byte[] ChangeBasic(Dice dice, byte[] seed, ImmutableArray<byte[]> seeds)
    {
        var changed = dice.OneIn(2)
            ? Mutation.Bytes(dice, seed, seeds)
            : Header(Mutation.Bytes(dice, Convert.FromBase64String(Encoding.ASCII.GetString(seed.AsSpan("Basic ".Length))), []));
        return changed.Length <= MaxHeaderBytes ? changed : changed[..MaxHeaderBytes];
    }

    private bool ReadBasic(byte[] input)
    {
        var header = Encoding.Latin1.GetString(input);
        if (ClientSecretBasic.Read(new Secret(header)).Refused(out var error, out var sent))
        {
            return Told(error);
        }

        Must(sent.Readings.Length is 1 or 2, "no reading, or too many");
        if (ClientAuthenticator.AuthenticateBySecret(new TokenRequest { Authorization = new Secret(header) }, _registry, Corpus.Now).Refused(out error, out var client))
        {
            return Told(error);
        }

        return Must(sent.Readings.Any(reading => KnownSecrets.IsOf(client.Client.ClientId, reading.ClientId, reading.Secret.Reveal())), "a client without its secret");
    }

    private bool ReadAssertion(byte[] input)
    {
        var text = Encoding.UTF8.GetString(input);
        var isRight = Told(CheckAssertion(text)) | Told(CheckAssertion(text, ClientAssertionTypes.JwtSpiffe));
        if (ClientAssertion.Read(text, out var assertion) is null)
        {
            // One spelling: what was read says the same bytes again.
            Must(text == $"{Encoding.ASCII.GetString(assertion!.Content)}.{Mutation.Encode(assertion.Signature)}", "two spellings of one assertion");
        }

        return isRight;
    }

    private bool Explain(byte[] input)
    {
        var text = Encoding.UTF8.GetString(input);
        var isRight = false;
        foreach (var id in (ReadOnlySpan<string>)["key-job", "mac-job", "pod-job", "mesh-job", "nobody"])
        {
            var faults = Now(new ValueTask<ImmutableArray<FailedCheck>>(
                ClientAssertionFaults.Find(text, id, _registry, s_audiences, _keySets, (_, _) => false, Corpus.Now, CancellationToken.None)));
            Must(faults.All(fault => IsPrintable(fault.Expected) && IsPrintable(fault.Came)), "a fault that cannot be printed");
            isRight |= faults.IsEmpty;
        }

        return isRight;
    }

    private bool ReadProof(byte[] input)
    {
        var request = new TokenRequest { DPoP = new Secret(Encoding.UTF8.GetString(input)) };
        return Told(Now(_dpop.Check(request, _registry.FindClient("bound-job")!, Corpus.Now)).Refused(out var error, out _) ? error : null);
    }

    private bool ReadToken(byte[] input)
        => AccessTokenReader.Read(Encoding.UTF8.GetString(input), Corpus.Issuer, _ring, Corpus.Now) is { } token
            && Must(token.ExpiresAt > Corpus.Now && token.Audience.Length > 0 && token.ClientId.Length > 0, "a token that is none");

    private byte[] SignToken(string algorithm, byte[] content)
    {
        var key = _ring.Keys[0];
        var signature = new byte[key.SignatureLength];
        key.Sign(content, signature);
        return signature;
    }

    private ImmutableArray<byte[]> AccessTokens()
    {
        var granted = new GrantedToken { ClientId = "basic-job", Scopes = ["catalog.read"], Audience = ["https://catalog.example.com"], Lifetime = TimeSpan.FromMinutes(10) };
        return
        [
            Issue(granted),
            Issue(granted with { Audience = ["https://catalog.example.com", "https://orders.example.com"], Confirmation = new() { Jkt = "a" } }),
            Issue(granted with { ClientId = "exchange-job", Delegation = new("basic-job", ["exchange-job"], ["a"]) }),
        ];

        byte[] Issue(GrantedToken token) => AccessTokenIssuer.Issue(token, Corpus.Issuer, _ring.Keys[0], Corpus.Now).AccessToken.ToArray();
    }

    private static bool ReadKeys(byte[] input)
    {
        if (StrictJson.ReadObject(input) is not { } set)
        {
            return false;
        }

        var bundle = ClientKeyReader.ReadSpiffeBundle(set);
        var read = ClientKeyReader.Read(set);
        Must(read.FaultTexts.Concat(bundle.FaultTexts).All(IsPrintable), "a fault that cannot be printed");
        foreach (var key in read.Keys.Concat(bundle.Keys))
        {
            Must(!key.Algorithms.IsEmpty && key.Thumbprint().Length == 43, "a key without use");
            Must(!key.VerifiesOnce(key.Algorithms[0], [1], new byte[key.Jwk.Kty == "RSA" ? 256 : 64]), "a key that verifies zeros");
        }

        return read.Faults.IsEmpty || bundle.Faults.IsEmpty;
    }

    private static bool ReadFile(byte[] input)
    {
        try
        {
            var file = DeclarativeFile.Parse(input, "clients.json", development: true);
            Must(file.Clients.Select(client => client.ClientId).Distinct(StringComparer.Ordinal).Count() == file.Clients.Length, "a client twice");
            return true;
        }
        catch (OperatorFaultException fault)
        {
            return Must(IsPrintable(fault.Message) && fault.Message.EndsWith("Nothing was applied.", StringComparison.Ordinal), "a message that cannot be printed") && false;
        }
    }

    private static bool ReadWords(byte[] input)
    {
        var text = Encoding.UTF8.GetString(input);
        var arguments = text.Split(' ');
        var (settings, words) = CommandLine.Split(arguments);
        Must(settings.Length + words.Length == arguments.Length, "a word that was lost");
        return Duration.Parse(text) is { } duration && Must(duration >= TimeSpan.Zero && duration <= TimeSpan.FromDays(36_500), "a duration that is none");
    }

    private bool ReadScope(byte[] input)
    {
        var text = Encoding.UTF8.GetString(input);
        var client = _registry.FindClient("exchange-job")!;
        if (!ScopePolicy.Decide(client, text, [], _registry).Refused(out var error, out var granted))
        {
            Must(granted.Names.All(name => client.Scopes.Contains(name)), "a scope that the client has not");
        }

        Told(error);
        Told(ScopePolicy.Decide(client, null, [text], _registry).Refused(out error, out _) ? error : null);
        if (ScopeSyntax.Split(text) is not { } names)
        {
            return false;
        }

        return Must(ScopeSyntax.Split(string.Join(' ', names)) is { } again && again.SequenceEqual(names), "a scope that reads otherwise when it is written again");
    }

    // What is written of any text, and the readers of names and addresses.
    private static bool ReadText(byte[] input)
    {
        var text = Encoding.UTF8.GetString(input);
        Must(IsPrintable(Printable.Quote(text)) && IsPrintable(Printable.Escape(text, 256)) && Printable.Escape(text, 256).Length <= 6 * 256, "a text that cannot be printed");
        const string Header = "eyJhbGciOiJub25lIn0";
        Must(
            text.Contains(Header, StringComparison.Ordinal) || !Printable.Withhold($"{text} {Header}.e30.", _ => false).Contains(Header, StringComparison.Ordinal),
            "a JWT that is shown");
        _ = AuditLine.Read(input);
        _ = NetworkRules.IsKeyAddress(text);
        var id = SpiffeId.TrustDomainOf(text) is not null | SpiffeId.TrustDomainOfRegistered(text) is not null;
        var hash = ClientSecret.ParseHash(text);
        foreach (var member in CertificateName.Members)
        {
            _ = new CertificateName(member, text).Fault();
        }

        return text.Length <= 1_024 && DistinguishedName.Parse(text) is { } name ? Must(name.Equals(DistinguishedName.Parse(text)), "a name that differs from itself") : id || hash is not null;
    }

    private ImmutableArray<byte[]> Fields()
    {
        var fields = _certificateSeeds.Select(der => $":{Convert.ToBase64String(der)}:").ToList();
        return [.. fields.Append($"{fields[0]}\n{fields[2]}").Append($"{fields[0]}\n{fields[2]}, {fields[1]}").Select(Encoding.ASCII.GetBytes)];
    }

    // Mostly inside the base64.
    private byte[] ChangeField(Dice dice, byte[] seed, ImmutableArray<byte[]> seeds)
    {
        var changed = dice.OneIn(4)
            ? Mutation.Bytes(dice, seed, seeds)
            : Encoding.ASCII.GetBytes($":{Convert.ToBase64String(Mutation.Bytes(dice, _certificateSeeds[dice.Below(_certificateSeeds.Length)], _certificateSeeds))}:");
        return changed.Length <= MaxHeaderBytes ? changed : changed[..MaxHeaderBytes];
    }

    private bool ReadField(byte[] input)
    {
        if (Certificate(input) is not { } sent)
        {
            return false;
        }

        foreach (var member in CertificateName.Members)
        {
            var name = new CertificateName(member, member == CertificateName.SubjectDn ? "CN=job" : member == CertificateName.SanIp ? "::1" : "job.example.com");
            _ = name.IsOf(sent.Certificate);
            Must(IsPrintable(name.Found(sent.Certificate)), "a name that cannot be printed");
        }

        _ = DistinguishedName.Read(sent.Certificate.SubjectName.RawData);
        return Must(IsPrintable(ClientCertificate.Words(sent.Certificate.SubjectName)), "a name that cannot be printed");
    }

    private bool ReadChain(byte[] input)
    {
        if (Certificate(input) is not { } sent)
        {
            return false;
        }

        var id = (input.Length % 4) switch { 0 => "cert-job", 1 => "name-job", 2 => "self-job", _ => "nobody" };
        var result = Now(_certificateProof.Check(new TokenRequest { ClientId = id, Certificate = sent }, _registry, Corpus.Now, CancellationToken.None));
        return Told(result.Refused(out var error, out _) ? error : null);
    }

    private static DefaultHttpContext Context(byte[] input)
    {
        var http = new DefaultHttpContext();
        http.Connection.RemoteIpAddress = IPAddress.Loopback;
        var lines = Encoding.Latin1.GetString(input).Split('\n');
        http.Request.Headers["Client-Cert"] = lines[0];
        if (lines.Length > 1)
        {
            http.Request.Headers["Client-Cert-Chain"] = lines[1..];
        }

        return http;
    }

    private ClientCertificate? Certificate(byte[] input)
    {
        var http = Context(input);
        _certificates(http).GetAwaiter().GetResult();
        Told(http.Items["error"] as OAuthError);
        return http.Items["certificate"] as ClientCertificate;
    }

    private RequestDelegate CertificateReader()
    {
        var reader = new ClientCertificates([System.Net.IPNetwork.Parse("127.0.0.0/8")]);
        var app = new ApplicationBuilder(_service.Services);
        ClientCertificates.NotePeer(app);
        app.Run(http =>
        {
            http.Items["error"] = reader.Read(http, out var certificate, out _);
            http.Items["certificate"] = certificate;
            return Task.CompletedTask;
        });
        return app.Build();
    }

    // What is told to the caller is in the characters of RFC 6749 §5.2, and to the operator in what may stand in a log line.
    private static bool Told(OAuthError? error) => error is null
        || (Must(IsTellable(error.Description), "a description that repeats what was sent") && Must(IsPrintable(error.Withheld(_ => false).Reason), "a reason that cannot be printed")
            && Must(error.Status is >= 400 and < 500, "a refusal that is no caller's fault") && false);

    private static bool IsTellable(string text) => text.Length > 4 && text.All(c => c is >= ' ' and <= '~' and not '"' and not '\\');

    private static bool IsPrintable(string text) => text.All(c => c is >= ' ' and <= '~' or '…');

    private static bool Must(bool holds, string otherwise) => holds ? true : throw new BrokenPropertyException(otherwise);

    // None of it waits: all keys are there.
    private static T Now<T>(ValueTask<T> task) => task.AsTask().GetAwaiter().GetResult();

    private sealed class Forgetful : IReplayStore
    {
        public ValueTask<ReplayVerdict> Use(string clientId, string tokenId, DateTimeOffset keepUntil) => new(ReplayVerdict.FirstUse);
    }
}

/// <summary>The secrets of the corpus.</summary>
internal static class KnownSecrets
{
    /// <summary>Each client with its secret and method.</summary>
    public static readonly ImmutableDictionary<string, (string Secret, string Method)> All = new Dictionary<string, (string, string)>
    {
        ["basic-job"] = ("basic-phrase-0123456789abcdef0123456789", "client_secret_basic"),
        ["a b:c%"] = ("odd+secret%41 &=~-0123456789abcdef0123456789", "client_secret_post"),
        ["post-job"] = ("post-phrase-0123456789abcdef0123456789", "client_secret_post"),
        ["bound-job"] = ("bound-phrase-0123456789abcdef0123456789", "client_secret_basic"),
        ["exchange-job"] = ("exch-phrase-0123456789abcdef0123456789", "client_secret_basic"),
        ["intro-job"] = ("intr-phrase-0123456789abcdef0123456789", "client_secret_basic"),
    }.ToImmutableDictionary();

    /// <summary>Whether a client was right to be taken for this one.</summary>
    public static bool IsOf(string client, string id, string secret) => client == id && All.TryGetValue(id, out var known) && known.Secret == secret;
}

/// <summary>Something that must hold whatever is sent does not.</summary>
internal sealed class BrokenPropertyException : Exception
{
    /// <summary>Says which.</summary>
    public BrokenPropertyException(string message)
        : base(message)
    {
    }

    /// <summary>As every exception has it.</summary>
    public BrokenPropertyException()
    {
    }

    /// <summary>As every exception has it.</summary>
    public BrokenPropertyException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
