using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Security.Cryptography;
using System.Text;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using Microsoft.IdentityModel.Tokens;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Storage;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Storage;

/// <summary>When clients, their secrets and their keys were last used.</summary>
public sealed class CredentialUsesTests : IDisposable
{
    private const string Grant = "grant_type=client_credentials";
    private const string Other = "other-secret-0123456789abcdef012345678";

    private static readonly TimeSpan s_minute = TimeSpan.FromMinutes(1);

    private readonly TemporaryFolder _folder = new();
    private readonly FakeTimeProvider _clock = new(AssertionClients.Now);

    public void Dispose() => _folder.Dispose();

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task A_use_is_written_once_a_minute_and_not_for_each_token_and_makes_nobody_read_the_store_again()
    {
        await using var service = await RunningService.Start(_folder, _clock, Sample.File);
        await Task.Delay(1500);
        var before = StoreFile.Bytes(_folder);
        var snapshot = service.Store.Current;

        await Tokens(50);
        StoreFile.Bytes(_folder).Should().Equal(before);
        Uses().Should().BeEmpty();

        _clock.Advance(s_minute);
        Uses().Should().Equal(($"{Sample.Job} {Secret(Sample.JobSecret)}", AssertionClients.Now));

        var written = StoreFile.Bytes(_folder);
        await Tokens(50);
        StoreFile.Bytes(_folder).Should().Equal(written);
        _clock.Advance(s_minute);
        Uses().Should().Equal(($"{Sample.Job} {Secret(Sample.JobSecret)}", AssertionClients.Now + s_minute));

        written = StoreFile.Bytes(_folder);
        _clock.Advance(s_minute);
        StoreFile.Bytes(_folder).Should().Equal(written, "nothing was used");
        service.Store.Refresh();
        service.Store.Current.Should().BeSameAs(snapshot);

        async Task Tokens(int count)
        {
            for (var i = 0; i < count; i++)
            {
                (await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).Status.Should().Be(200);
            }
        }
    }

    [Fact]
    public async Task It_is_known_which_secret_and_which_key_was_used()
    {
        var file = AssertionClients.Resources($$"""
            { "client_id": "two", "client_secret": ["{{AssertionClients.BasicSecret}}", "{{Other}}"], "scope": "catalog.read" },
            { "client_id": "form", "client_secret": ["{{AssertionClients.BasicSecret}}", "{{Other}}"], "scope": "catalog.read",
              "token_endpoint_auth_method": "client_secret_post" },
            { "client_id": "mac", "client_secret": ["{{AssertionClients.MacSecret}}", "{{Other}}"], "scope": "catalog.read",
              "token_endpoint_auth_method": "client_secret_jwt" },
            { "client_id": "key", "token_endpoint_auth_method": "private_key_jwt", "scope": "catalog.read",
              "jwks": {{ClientKeyPair.Set(AssertionClients.Rsa.Jwk("first"), AssertionClients.P256.Jwk("second"))}} },
            { "client_id": "nameless", "token_endpoint_auth_method": "private_key_jwt", "scope": "catalog.read",
              "jwks": {{ClientKeyPair.Set(AssertionClients.Rsa.Jwk(null))}} }
            """);
        await using var service = await AssertionClients.Start(_folder, _clock, file);

        (await service.Token(Grant, $"two:{Other}")).Status.Should().Be(200);
        (await service.Token($"{Grant}&client_id=form&client_secret={AssertionClients.BasicSecret}")).Status.Should().Be(200);
        (await service.Send(AssertionClients.Draft("mac").SignedWith(Other))).Status.Should().Be(200);
        (await service.Send(AssertionClients.Draft("key").WithHeader("kid", "second").SignedBy(AssertionClients.P256, "ES256"))).Status.Should().Be(200);
        (await service.Send(AssertionClients.Draft("nameless").WithoutHeader("kid").SignedBy(AssertionClients.Rsa))).Status.Should().Be(200);
        _clock.Advance(s_minute);

        var jwk = AssertionClients.Rsa.Jwk(null);
        var thumbprint = Base64UrlEncoder.Encode(SHA256.HashData(Encoding.UTF8.GetBytes($$"""{"e":"{{jwk["e"]}}","kty":"RSA","n":"{{jwk["n"]}}"}""")));
        Uses().Select(use => use.Name).Should().Equal(
            $"form {Secret(AssertionClients.BasicSecret)}", "key key:second", $"mac {Secret(Other)}", $"nameless key:{thumbprint}", $"two {Secret(Other)}");
    }

    [Fact]
    public async Task A_key_behind_a_jwks_uri_is_known_by_its_kid()
    {
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(AssertionClients.Rsa.Jwk("fetched")));
        await using var service = await AssertionClients.Start(_folder, _clock, AssertionClients.Resources(
            $$"""{ "client_id": "c", "token_endpoint_auth_method": "private_key_jwt", "scope": "catalog.read", "jwks_uri": "{{host.Uri}}" }"""));

        (await service.Send(AssertionClients.Draft("c").WithHeader("kid", "fetched").SignedBy(AssertionClients.Rsa))).Status.Should().Be(200);
        _clock.Advance(s_minute);

        Uses().Select(use => use.Name).Should().Equal("c key:fetched");
    }

    [Fact]
    public async Task What_proves_nobody_is_no_use()
    {
        await using var service = await AssertionClients.Start(_folder, _clock);
        var assertion = AssertionClients.Draft().SignedBy(AssertionClients.Rsa);
        (await service.Send(assertion)).Status.Should().Be(200);
        _clock.Advance(s_minute);
        var first = Uses();
        first.Should().ContainSingle();
        StoreFile.Execute(_folder, "UPDATE clients SET disabled = 1 WHERE client_id = 'mac-job'; UPDATE store_version SET version = version + 1");
        service.Store.Refresh();

        (await service.Send(assertion)).Status.Should().Be(401, "it was used before");
        (await service.Token(Grant, $"{AssertionClients.BasicJob}:wrong")).Status.Should().Be(401);
        (await service.Token(Grant, "nobody:wrong")).Status.Should().Be(401);
        (await service.Send(AssertionClients.Draft(AssertionClients.OtherJob).SignedBy(AssertionClients.P256, "ES256"))).Status.Should().Be(401);
        (await service.Send(AssertionClients.Draft(AssertionClients.MacJob).SignedWith(AssertionClients.MacSecret))).Status.Should().Be(401, "it is disabled");
        _clock.Advance(s_minute);

        Uses().Should().Equal(first);
    }

    [Fact]
    public async Task A_graceful_stop_writes_what_is_held()
    {
        await using (var service = await RunningService.Start(_folder, _clock, Sample.File))
        {
            (await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).Status.Should().Be(200);
        }

        Uses().Should().Equal(($"{Sample.Job} {Secret(Sample.JobSecret)}", AssertionClients.Now));
        await using var again = await RunningService.Start(_folder, _clock, null);
        Uses().Should().ContainSingle();
    }

    [Fact]
    public async Task A_locked_store_holds_up_no_token_and_takes_the_uses_when_it_is_free()
    {
        await using var service = await RunningService.Start(_folder, _clock, Sample.File);
        var held = StoreFile.Lock(_folder);

        (await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).Status.Should().Be(200);
        var minute = Task.Run(() => _clock.Advance(s_minute));
        for (var i = 0; i < 20; i++)
        {
            (await service.Token(Grant, $"{Sample.Wide}:{Sample.WideSecret}")).Status.Should().Be(200);
        }

        minute.IsCompleted.Should().BeFalse("it waits for the store all the while");
        held.Dispose();
        await minute;

        Uses().Should().Contain(use => use.Name == $"{Sample.Job} {Secret(Sample.JobSecret)}");
    }

    [Fact]
    public async Task What_the_store_does_not_take_is_kept_for_the_next_minute()
    {
        await using var service = await RunningService.Start(_folder, _clock, Sample.File);
        StoreFile.Execute(_folder, "ALTER TABLE credential_uses RENAME TO hidden");
        (await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).Status.Should().Be(200);
        _clock.Advance(s_minute);
        (await service.Token(Grant, $"{Sample.Wide}:{Sample.WideSecret}")).Status.Should().Be(200);

        StoreFile.Execute(_folder, "ALTER TABLE hidden RENAME TO credential_uses");
        _clock.Advance(s_minute);

        Uses().Should().Equal(
            ($"{Sample.Job} {Secret(Sample.JobSecret)}", AssertionClients.Now), ($"{Sample.Wide} {Secret(Sample.WideSecret)}", AssertionClients.Now + s_minute));
    }

    [Fact]
    public async Task A_store_that_is_gone_is_not_made_anew()
    {
        await using var service = await RunningService.Start(_folder, _clock, Sample.File);
        (await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).Status.Should().Be(200);
        foreach (var name in Directory.GetFiles(_folder.Path, "token-service.db*"))
        {
            File.Delete(name);
        }

        // A connection that is open goes on with the file that has no name any more; the next one has none to open.
        Microsoft.Data.Sqlite.SqliteConnection.ClearAllPools();
        _clock.Advance(s_minute);
        (await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).Status.Should().Be(200);

        File.Exists(_folder.File("token-service.db")).Should().BeFalse();
    }

    [Fact]
    public void A_fault_is_told_once_a_minute()
    {
        using var store = Registered("c");
        List<string> told = [];
        using var uses = new CredentialUses(store.DataSource, _clock, told.Add);
        StoreFile.Execute(_folder, "DROP TABLE credential_uses");
        _clock.Advance(s_minute);
        told.Should().BeEmpty("there is nothing to write");

        uses.Note(Proved("c", "secret:1"), _clock.GetUtcNow());
        uses.Note(Proved("c", "secret:1"), _clock.GetUtcNow());
        _clock.Advance(s_minute);

        told.Should().ContainSingle().Which.Should().Contain("cannot be written");
    }

    [Fact]
    public void Of_a_client_with_ever_new_keys_the_latest_are_remembered()
    {
        using var store = Registered("c", "d");
        using var uses = new CredentialUses(store.DataSource, _clock, fault => throw new InvalidOperationException(fault));

        uses.Note(Proved("d", "key:0"), _clock.GetUtcNow());
        for (var i = 0; i < 3 * CredentialUses.MostOfAClient; i++)
        {
            uses.Note(Proved("c", $"key:{i}"), _clock.GetUtcNow().AddSeconds(i));
        }

        _clock.Advance(s_minute);
        uses.Dispose();

        Uses().Should().HaveCount(CredentialUses.MostOfAClient + 1).And.Contain(use => use.Name == "d key:0")
            .And.Contain(use => use.Name == $"c key:{(3 * CredentialUses.MostOfAClient) - 1}").And.NotContain(use => use.Name == "c key:0");
    }

    [Fact]
    public void Of_two_replicas_the_later_use_counts_whoever_writes_first()
    {
        using var store = Registered("c");
        using (var first = new CredentialUses(store.DataSource, _clock, fault => throw new InvalidOperationException(fault)))
        using (var second = new CredentialUses(store.DataSource, _clock, fault => throw new InvalidOperationException(fault)))
        {
            // Disposed in the opposite order: the earlier use is written last.
            first.Note(Proved("c", "secret:1"), AssertionClients.Now);
            second.Note(Proved("c", "secret:1"), AssertionClients.Now.AddSeconds(9));
            second.Note(Proved("c", "secret:1"), AssertionClients.Now.AddSeconds(3));
        }

        Uses().Should().Equal(("c secret:1", AssertionClients.Now.AddSeconds(9)));
    }

    [Fact]
    public void A_client_that_is_removed_leaves_no_uses_behind_and_gets_none_afterwards()
    {
        using var store = Registered("c", "d");
        using (var uses = new CredentialUses(store.DataSource, _clock, fault => throw new InvalidOperationException(fault)))
        {
            uses.Note(Proved("c", "secret:1"), AssertionClients.Now);
            uses.Note(Proved("d", "secret:1"), AssertionClients.Now);
            _clock.Advance(s_minute);
            Uses().Should().HaveCount(2);

            uses.Note(Proved("c", "secret:1"), AssertionClients.Now.AddSeconds(9));
            store.Registry.Change(_ => new RegistryChange { RemovedClients = ["c"] });
        }

        Uses().Should().Equal(("d secret:1", AssertionClients.Now));
    }

    [Fact]
    public void A_note_in_the_same_second_allocates_nothing()
    {
        using var store = Registered("c");
        using var uses = new CredentialUses(store.DataSource, _clock, fault => throw new InvalidOperationException(fault));
        var (client, now) = (Proved("c", "secret:1"), _clock.GetUtcNow());
        uses.Note(client, now);
        uses.Note(client, now);

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            uses.Note(client, now);
        }

        (GC.GetAllocatedBytesForCurrentThread() - before).Should().Be(0);
    }

    private static AuthenticatedClient Proved(string id, string credential) => new(Client(id), credential);

    private static Client Client(string id) => new()
    {
        ClientId = id,
        AuthenticationMethod = AuthenticationMethods.ClientSecretBasic,
        GrantTypes = [],
        Scopes = [],
        Origin = Origin.Command,
    };

    private static string Secret(string secret) => $"secret:{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(secret)))[..12]}";

    private Store Registered(params string[] ids)
    {
        var store = Store.Open(SettingsTests.Read(_folder.Path));
        store.Registry.Change(_ => new RegistryChange { Clients = [.. ids.Select(Client)] });
        return store;
    }

    private List<(string Name, DateTimeOffset At)> Uses()
    {
        using var connection = StoreFile.Open(_folder);
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT client_id, credential, last_used_at FROM credential_uses ORDER BY client_id, credential";
        using var reader = command.ExecuteReader();
        List<(string, DateTimeOffset)> uses = [];
        while (reader.Read())
        {
            uses.Add(($"{reader.GetString(0)} {reader.GetString(1)}", DateTimeOffset.FromUnixTimeMilliseconds(reader.GetInt64(2))));
        }

        return uses;
    }
}
