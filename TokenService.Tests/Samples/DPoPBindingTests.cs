using System;
using System.Linq;
using System.Net.Http;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Samples;

/// <summary>What a token that is bound to a key is good for at the sample API, and for whom.</summary>
public sealed class DPoPBindingTests
{
    [Fact]
    public async Task A_bound_token_is_good_with_a_proof_of_its_key_alone_and_the_reporting_job_uses_it_so()
    {
        await using var service = await RunningService.Start();
        var issuer = service.Url.ToString().TrimEnd('/');
        var api = new Uri($"http://127.0.0.1:{RunningProgram.FreePort()}");
        await using var program = await RunningProgram.Start(
            Repository.Built("samples/CatalogApi", "CatalogApi"),
            [$"--urls={api}", "--environment=Development", $"--Issuer={issuer}", $"--Audience={Sample.CatalogUri}"],
            new Uri(api, "/documents"),
            null);
        var (key, another) = (ClientKeyPair.For("ES256"), ClientKeyPair.For("ES256"));
        var token = await Token(key);
        var documents = new Uri(api, "/documents").ToString();

        var used = Proof(key);
        (await Get("DPoP", token, used)).Status.Should().Be(200);
        (await Get("DPoP", token, Draft(key).With("htu", documents + "?q=x").SignedBy(key))).Status.Should().Be(200, "the query does not count");
        var unbound = (await service.Token("grant_type=client_credentials", DPoPClients.Free)).AccessToken;
        (await Get("Bearer", unbound)).Status.Should().Be(200);

        await Refuses("a stolen token as Bearer", "Bearer", token);
        await Refuses("as Bearer with a good proof", "Bearer", token, Proof(key));
        await Refuses("without a proof", "DPoP", token);
        await Refuses("with another key's proof", "DPoP", token, Proof(another));
        await Refuses("with a proof that was used", "DPoP", token, used);
        await Refuses("with two proofs", "DPoP", token, Proof(key), Proof(key));
        await Refuses("with a proof for another token", "DPoP", token, Draft(key).With("ath", Hash(unbound)).SignedBy(key));
        await Refuses("with a proof for no token", "DPoP", token, Draft(key).Without("ath").SignedBy(key));
        await Refuses("with a proof for another method", "DPoP", token, Draft(key).With("htm", "POST").SignedBy(key));
        await Refuses("with a proof for another address", "DPoP", token, Draft(key).With("htu", documents + "/1").SignedBy(key));
        await Refuses("with a proof for another host", "DPoP", token, Draft(key).With("htu", "https://other.example.com/documents").SignedBy(key));
        await Refuses("with an old proof", "DPoP", token, Draft(key).With("iat", DateTimeOffset.UtcNow.ToUnixTimeSeconds() - 65).SignedBy(key));
        await Refuses("with a proof of tomorrow", "DPoP", token, Draft(key).With("iat", DateTimeOffset.UtcNow.ToUnixTimeSeconds() + 60).SignedBy(key));
        await Refuses("with a proof without jti", "DPoP", token, Draft(key).Without("jti").SignedBy(key));
        await Refuses("with a proof of another type", "DPoP", token, Draft(key).WithHeader("typ", "JWT").SignedBy(key));
        await Refuses("with a proof that needs to be understood", "DPoP", token, Draft(key).WithHeader("crit", new JsonArray("x")).WithHeader("x", 1).SignedBy(key));
        await Refuses("with an unsigned proof", "DPoP", token, Draft(key).WithHeader("alg", "none").Signed(_ => []));
        await Refuses("with a proof that another key signed", "DPoP", token, Draft(key).SignedBy(another));
        await Refuses("with an HMAC under the public key", "DPoP", token, Draft(key).WithHeader("alg", "HS256").Signed(content => AssertionDraft.Mac("HS256", Encoding.ASCII.GetBytes(key.PublicPem), content)));
        var (rsa, thief) = (ClientKeyPair.OfRsa(), RSA.Create(2048));
        var bound = await Token(rsa, "RS256");
        (await Get("DPoP", bound, Rsa().SignedBy(rsa, "RS256"))).Status.Should().Be(200);
        using var certificate = TestAuthority.SelfSigned("CN=thief", thief);
        var jwk = rsa.Jwk(null);
        jwk["x5c"] = new JsonArray(Convert.ToBase64String(certificate.RawData));
        foreach (var algorithm in (string[])["RS256", "RS384", "PS256"])
        {
            await Refuses("with the key of a certificate that stands in the jwk of the right key", "DPoP", bound, Rsa().WithHeader("jwk", jwk.DeepClone()).WithHeader("alg", algorithm).Signed(content => thief.SignData(
                content, algorithm == "RS384" ? HashAlgorithmName.SHA384 : HashAlgorithmName.SHA256, algorithm == "PS256" ? RSASignaturePadding.Pss : RSASignaturePadding.Pkcs1)));
        }

        // Another server, that was given both and passes them on, writes its own name where the client has called it.
        using (var relayed = new HttpRequestMessage(HttpMethod.Get, documents))
        {
            relayed.Headers.Host = "evil.example";
            relayed.Headers.TryAddWithoutValidation("Authorization", $"DPoP {token}");
            relayed.Headers.TryAddWithoutValidation("DPoP", Draft(key).With("htu", "http://evil.example/documents").SignedBy(key));
            using var answer = await service.Http.SendAsync(relayed);
            ((int)answer.StatusCode).Should().Be(401, "the address is the API's own, whatever the request says");
        }

        await Refuses("with garbage", "DPoP", token, "a.b.c");
        await Refuses("an unbound token by DPoP", "DPoP", unbound, Draft(key).With("ath", Hash(unbound)).SignedBy(key));

        var finished = await RunningProgram.Run(
            Repository.Built("samples/ReportingJob", "ReportingJob"),
            ["--dpop"],
            null,
            ("TOKEN_ISSUER", issuer),
            ("CATALOG_API", api.ToString()),
            ("CLIENT_ID", Sample.Job),
            ("CLIENT_SECRET", Sample.JobSecret),
            ("ROUNDS", "2"));
        finished.ExitCode.Should().Be(0, finished.Error);
        finished.Output.Should().Contain("Report 2: [{").And.EndWith("2 reports, 1 token.\n");

        AssertionDraft Draft(ClientKeyPair by) => DPoPClients.Draft(by, "ES256", documents, DateTimeOffset.UtcNow, null).With("htm", "GET").With("ath", Hash(token));

        AssertionDraft Rsa() => DPoPClients.Draft(rsa, "RS256", documents, DateTimeOffset.UtcNow, null).With("htm", "GET").With("ath", Hash(bound));

        string Proof(ClientKeyPair by) => Draft(by).SignedBy(by);

        static string Hash(string of) => Base64UrlEncoder.Encode(SHA256.HashData(Encoding.ASCII.GetBytes(of)));

        async Task<string> Token(ClientKeyPair by, string algorithm = "ES256")
            => (await service.TokenWith(DPoPClients.Free, "grant_type=client_credentials", service.Draft(by, DateTimeOffset.UtcNow, await service.Nonce(), algorithm).SignedBy(by, algorithm))).AccessToken;

        async Task Refuses(string name, string scheme, string sent, params string[] proofs)
        {
            var answer = await Get(scheme, sent, proofs);
            answer.Status.Should().Be(401, name);
            answer.Response.Headers.GetValues("WWW-Authenticate").Single().Should().StartWith($"{scheme} error=\"invalid_token\"", name);
        }

        async Task<Answer> Get(string scheme, string sent, params string[] proofs)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, documents);
            request.Headers.TryAddWithoutValidation("Authorization", $"{scheme} {sent}");
            foreach (var proof in proofs)
            {
                request.Headers.TryAddWithoutValidation("DPoP", proof);
            }

            using var response = await service.Http.SendAsync(request);
            return await Answer.Of(response);
        }
    }
}
