using System;
using System.Linq;
using System.Security.Cryptography;
using System.Text;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Keys;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>The searches for secrets find what they look for: a leak that a test plants itself.</summary>
public sealed class CanariesTests
{
    private const string Secret = "kanarie/nvogel+é~4711";

    [Fact]
    public void A_planted_secret_is_found_in_each_form_that_it_can_be_written_in_and_nothing_else_is()
    {
        var canaries = new Canaries();
        canaries.AddText("planted", Secret);
        var utf8 = Encoding.UTF8.GetBytes(Secret);

        foreach (var form in (string[])
        [
            Secret, Uri.EscapeDataString(Secret), Convert.ToHexString(utf8), Convert.ToHexStringLower(utf8), Convert.ToBase64String(utf8),
            Convert.ToBase64String(utf8).TrimEnd('='), System.Buffers.Text.Base64Url.EncodeToString(utf8), System.Text.Json.JsonSerializer.Serialize(Secret),
            Convert.ToBase64String(Encoding.UTF8.GetBytes($"a:{Secret}:z")), Convert.ToBase64String(Encoding.UTF8.GetBytes($"ab:{Secret}:z")),
            Convert.ToBase64String(Encoding.UTF8.GetBytes($"abc:{Secret}:z")), Uri.EscapeDataString(Convert.ToBase64String(utf8)),
        ])
        {
            canaries.FoundIn($"before {form} behind").Should().NotBeEmpty(form);
            canaries.Invoking(all => all.MustNotBeIn("a file", $"before {form} behind")).Should().Throw<CanaryException>().WithMessage("In a file stands planted*");
        }

        canaries.FoundIn([0, 255, .. utf8, 0, 254]).Should().NotBeEmpty("a file may hold anything");
        canaries.FoundIn(Secret[..^1] + Convert.ToBase64String(utf8.Reverse().ToArray())).Should().BeEmpty();
        foreach (var marked in (string[])[Sample.JobSecret, AssertionClients.MacSecret, "not-a-secret-just-the-sample-reporting-job"])
        {
            canaries.FoundIn(Convert.ToBase64String(Encoding.UTF8.GetBytes($"somebody:{marked}"))).Should().NotBeEmpty(marked);
        }
    }

    [Fact]
    public void A_planted_key_and_a_planted_token_are_found_by_any_of_their_parts()
    {
        var (rsa, ec) = (SigningKey.Generate("RS256"), SigningKey.Generate("ES256"));
        var canaries = new Canaries();
        canaries.AddKey("rsa", rsa);
        canaries.AddKey("ec", ec);
        var token = new AssertionDraft("me", "you", DateTimeOffset.UtcNow).SignedBy(AssertionClients.Rsa);
        canaries.AddToken("token", token);
        using var pair = RSA.Create();
        pair.ImportPkcs8PrivateKey(rsa.ExportPrivateKey(), out _);
        var numbers = pair.ExportParameters(true);

        foreach (var number in (byte[][])[numbers.D!, numbers.P!, numbers.Q!, numbers.DP!, numbers.DQ!, numbers.InverseQ!, ec.ExportPrivateKey()])
        {
            canaries.FoundIn(number).Should().NotBeEmpty();
            canaries.FoundIn("{\"d\":\"" + System.Buffers.Text.Base64Url.EncodeToString(number) + "\"}").Should().NotBeEmpty();
            canaries.FoundIn("\\x" + Convert.ToHexStringLower(number)).Should().NotBeEmpty();
        }

        canaries.FoundIn(pair.ExportPkcs8PrivateKeyPem().Split('\n')[15]).Should().NotBeEmpty("a line of the PEM");
        canaries.FoundIn(numbers.Modulus).Should().BeEmpty("that is public");
        canaries.FoundIn(token.Split('.')[0]).Should().BeEmpty();
        canaries.FoundIn(token.Split('.')[1]).Should().NotBeEmpty();
        canaries.FoundIn(token.Split('.')[2]).Should().NotBeEmpty();
        var unknown = new AssertionDraft("me", "you", DateTimeOffset.UtcNow).SignedBy(AssertionClients.Rsa);
        canaries.Invoking(all => all.MustNotBeIn("the log", $"It sent {unknown}.")).Should().Throw<CanaryException>("any token is one too many");
    }

    [Theory]
    [Trait("Host", "InProcess")]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task The_log_of_each_service_of_the_tests_is_searched_for_what_was_sent_to_it_and_what_it_answered(int what)
    {
        var service = await RunningService.Start();
        const string wrong = "something-else-that-nobody-knows";
        var token = await service.GetToken();
        (await service.Token("grant_type=client_credentials", $"{Sample.Job}:{wrong}")).Status.Should().Be(401);
        var assertion = new AssertionDraft(Sample.Job, service.Url.ToString(), DateTimeOffset.UtcNow).SignedBy(AssertionClients.Rsa);
        (await service.Token(AssertionDraft.Form(assertion))).Status.Should().Be(401);

        service.Log($"Planted: {new[] { wrong, token.Split('.')[2], assertion.Split('.')[1], Sample.WideSecret }[what]}");

        await service.Invoking(one => one.DisposeAsync().AsTask()).Should().ThrowAsync<CanaryException>().WithMessage("In the log stands*");
    }

    [Fact]
    [Trait("Host", "InProcess")]
    [Trait("Storage", "Sqlite")]
    public async Task So_is_its_store()
    {
        using var folder = new TemporaryFolder();
        var service = await RunningService.Start(folder, null, Sample.File);
        (await service.GetToken()).Should().NotBeEmpty();
        StoreFile.Execute(folder, $"UPDATE clients SET client_name = '{Sample.JobSecret}'");

        await service.Invoking(one => one.DisposeAsync().AsTask()).Should().ThrowAsync<CanaryException>().WithMessage("In *token-service.db* stands *the marker of a secret*");
    }

    [Fact]
    public async Task So_is_what_each_served_program_prints()
    {
        using var folder = new TemporaryFolder();
        var port = RunningProgram.FreePort();
        var program = await new Cli(folder).Serve(port, $"--TokenService:Issuer=http://127.0.0.1:{port}/{Sample.JobSecret}");
        await program.Prints(Sample.JobSecret);

        await program.Invoking(one => one.DisposeAsync().AsTask()).Should().ThrowAsync<CanaryException>().WithMessage("In what it printed stands the marker of a secret*");
    }
}
