using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Protocol;
using TokenService.Storage;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Storage;

public sealed class StoreTests : IDisposable
{
    private const string Grant = "grant_type=client_credentials";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Clients_and_the_signing_key_are_the_same_after_a_restart()
    {
        string jwks;
        await using (var first = await RunningService.Start(_folder, null, Sample.File))
        {
            jwks = await first.Http.GetStringAsync("/.well-known/jwks.json");
        }

        await using var second = await RunningService.Start(_folder, null, null);
        (await second.Http.GetStringAsync("/.well-known/jwks.json")).Should().Be(jwks);
        (await second.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).Status.Should().Be(200);
    }

    [Fact]
    public async Task Another_algorithm_in_the_settings_does_not_change_the_key_in_the_store()
    {
        await using (await RunningService.Start(_folder, null, Sample.File))
        {
        }

        await using var second = await RunningService.Start(_folder, null, null, "--TokenService:SigningAlgorithm=ES256");
        new JsonWebToken((await second.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).AccessToken).Alg.Should().Be("RS256");
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task Only_the_owner_may_read_what_the_service_writes()
    {
        await using var service = await RunningService.Start(_folder, null, Sample.File);

        var files = Directory.GetFiles(_folder.Path).Where(file => Path.GetFileName(file) != "clients.json").ToList();

        files.Select(Path.GetFileName).Should().BeEquivalentTo(
            "token-service.db", "token-service.db-wal", "token-service.db-shm", "token-service.master-key");
        foreach (var file in files)
        {
            File.GetUnixFileMode(file).Should().Be(UnixFileMode.UserRead | UnixFileMode.UserWrite, file);
        }
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task The_store_holds_neither_secrets_nor_private_keys_in_clear()
    {
        await using var service = await RunningService.Start(_folder, null, Sample.File);
        var privateKey = service.Store.Current.Keys.SigningAt(DateTimeOffset.UtcNow).ExportPrivateKey();

        var stored = Stored();
        stored.AsSpan().IndexOf("reporting-job"u8).Should().BePositive("the search must be able to find");
        foreach (var secret in (string[])[Sample.JobSecret, Sample.FormSecret, Sample.WideSecret])
        {
            stored.AsSpan().IndexOf(System.Text.Encoding.UTF8.GetBytes(secret)).Should().Be(-1);
        }

        for (var at = 0; at + 16 <= privateKey.Length; at += 16)
        {
            // The modulus is public; the store does not hold it either, since all of the key is encrypted.
            stored.AsSpan().IndexOf(privateKey.AsSpan(at, 16)).Should().Be(-1);
        }
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task A_secret_that_signs_is_kept_encrypted_and_bound_to_its_place()
    {
        await using (var service = await AssertionClients.Start(_folder))
        {
            Stored().AsSpan().IndexOf(System.Text.Encoding.UTF8.GetBytes(AssertionClients.MacSecret)).Should().Be(-1);
        }

        await using (var again = await AssertionClients.Start(_folder))
        {
            (await again.Send(AssertionClients.Draft(AssertionClients.MacJob).SignedWith(AssertionClients.MacSecret))).Status.Should().Be(200);
        }

        Sql("INSERT INTO client_secrets (client_id, secret_hash, origin, secret) SELECT 'basic-job', secret_hash, 0, secret FROM client_secrets WHERE client_id = 'mac-job'");
        await StartFails("A secret of client \"basic-job\" in the store does not open");

        Sql("DELETE FROM client_secrets WHERE client_id = 'basic-job'");
        Sql("UPDATE client_secrets SET secret = CAST(substr(secret, 1, length(secret) - 1) || x'00' AS BLOB) WHERE client_id = 'mac-job'");
        await StartFails("A secret of client \"mac-job\" in the store does not open");
    }

    [Fact]
    public async Task A_secret_is_kept_only_while_the_client_signs_with_it()
    {
        const string secret = AssertionClients.MacSecret;
        string File(string method) => AssertionClients.Resources(
            $$"""{ "client_id": "c", "token_endpoint_auth_method": "{{method}}", "client_secret": "{{secret}}", "scope": "catalog.read" }""");

        foreach (var (method, kept) in ((string, long)[])[("client_secret_basic", 0), ("client_secret_jwt", 1), ("client_secret_jwt", 1), ("client_secret_post", 0), ("client_secret_jwt", 1)])
        {
            await using var service = await AssertionClients.Start(_folder, file: File(method));
            Count("SELECT COUNT(*) FROM client_secrets WHERE secret IS NOT NULL").Should().Be(kept, method);
            Count("SELECT COUNT(*) FROM client_secrets").Should().Be(1);
            var bySignature = await service.Send(AssertionClients.Draft("c").SignedWith(secret));
            bySignature.Status.Should().Be(kept == 1 ? 200 : 401, bySignature.Body);
        }
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task Commands_on_a_store_with_kept_secrets_miss_its_master_key_as_the_service_does()
    {
        await using (await AssertionClients.Start(_folder))
        {
        }

        Sql("DELETE FROM signing_keys");
        File.Delete(_folder.File("token-service.master-key"));
        await StartFails("is missing");
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task A_wrong_master_key_stops_the_start_and_destroys_nothing()
    {
        string jwks;
        await using (var service = await RunningService.Start(_folder, null, Sample.File))
        {
            jwks = await service.Http.GetStringAsync("/.well-known/jwks.json");
        }

        var file = _folder.File("token-service.master-key");
        var right = File.ReadAllText(file);
        File.WriteAllText(file, Convert.ToBase64String(new byte[32]));
        await StartFails("does not open");

        File.WriteAllText(file, "not a key");
        await StartFails("must hold 32 random bytes in base64");

        File.Delete(file);
        await StartFails("is missing");
        File.Exists(file).Should().BeFalse("a new key would hide that the right one is lost");

        File.WriteAllText(file, right);
        await using var again = await RunningService.Start(_folder, null, null);
        (await again.Http.GetStringAsync("/.well-known/jwks.json")).Should().Be(jwks);
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task A_master_key_file_that_a_setting_names_must_be_there()
    {
        await StartFails("there is no such file", "--TokenService:MasterKeyFile=my.key");

        _folder.Write("my.key", Convert.ToBase64String(Enumerable.Range(0, 32).Select(i => (byte)i).ToArray()) + "\n");
        await using var service = await RunningService.Start(_folder, null, Sample.File, "--TokenService:MasterKeyFile=my.key");
        File.Exists(_folder.File("token-service.master-key")).Should().BeFalse();
    }

    [Fact]
    public async Task A_private_key_that_was_moved_to_another_row_does_not_open()
    {
        await using (await RunningService.Start(_folder, null, Sample.File))
        {
        }

        Sql("INSERT INTO signing_keys (kid, algorithm, created_at, private_key) SELECT 'moved', algorithm, created_at, private_key FROM signing_keys");
        await StartFails("signing key");
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task A_file_that_is_no_store_stops_the_start()
    {
        _folder.Write("token-service.db", new string('x', 5000));

        await StartFails("cannot be opened");
    }

    [Fact]
    public async Task Many_that_start_at_once_on_a_new_store_end_with_one_key()
    {
        _folder.Write("clients.json", Sample.File);
        var started = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() => RunningService.Start(_folder, null, null, "--TokenService:ApplyFile=clients.json"))));

        var keys = new HashSet<string>();
        foreach (var service in started)
        {
            service.Store.Refresh();
            keys.Add(await service.Http.GetStringAsync("/.well-known/jwks.json"));
            await service.DisposeAsync();
        }

        keys.Should().ContainSingle();
    }

    [Theory]
    [InlineData("ALTER TABLE store_version RENAME TO hidden", "ALTER TABLE hidden RENAME TO store_version")]
    [InlineData(
        "CREATE TABLE kept AS SELECT * FROM signing_keys; DELETE FROM signing_keys; UPDATE store_version SET version = version + 1",
        "INSERT INTO signing_keys SELECT * FROM kept; UPDATE store_version SET version = version + 1")]
    [InlineData(
        "CREATE TABLE kept AS SELECT * FROM signing_keys; UPDATE signing_keys SET private_key = x'00'; UPDATE store_version SET version = version + 1",
        "UPDATE signing_keys SET private_key = (SELECT private_key FROM kept); UPDATE store_version SET version = version + 1")]
    [Trait("Storage", "Sqlite")]
    public async Task While_the_store_cannot_be_read_tokens_go_out_and_readiness_says_so(string damage, string repair)
    {
        await using var service = await RunningService.Start(_folder, null, Sample.File);

        Sql(damage);
        service.Store.Refresh();
        (await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).Status.Should().Be(200);
        var ready = await service.Send(new(System.Net.Http.HttpMethod.Get, "/health/ready"));
        (ready.Status, ready.Body).Should().Match<(int Status, string Body)>(answer => answer.Status == 200 && answer.Body.StartsWith("Degraded: the store cannot be read, since "));
        (await service.Send(new(System.Net.Http.HttpMethod.Get, "/health/live"))).Status.Should().Be(200);

        Sql(repair);
        service.Store.Refresh();
        (await service.Send(new(System.Net.Http.HttpMethod.Get, "/health/ready"))).Body.Should().Be("Healthy");
        (await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).Status.Should().Be(200);
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task A_store_that_is_gone_is_noticed_and_one_that_was_put_in_its_place_is_followed()
    {
        await using var service = await RunningService.Start(_folder, null, Sample.File);
        var file = _folder.File("token-service.db");
        Sql("VACUUM INTO '" + _folder.File("backup.db") + "'");
        Sql("DELETE FROM client_secrets; UPDATE store_version SET version = version + 1");
        service.Store.Refresh();
        (await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).Status.Should().Be(401);

        foreach (var name in Directory.GetFiles(_folder.Path, "token-service.db*"))
        {
            File.Delete(name);
        }

        service.Store.Refresh();
        (await service.Send(new(System.Net.Http.HttpMethod.Get, "/health/ready"))).Body.Should().StartWith("Degraded: the store cannot be read, since ");
        File.Exists(file).Should().BeFalse("a new and empty one would hide the loss");

        File.Move(_folder.File("backup.db"), file);
        service.Store.Refresh();
        (await service.Send(new(System.Net.Http.HttpMethod.Get, "/health/ready"))).Body.Should().Be("Healthy");
        (await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).Status.Should().Be(200);
    }

    [Fact]
    public async Task A_key_cannot_be_made_to_sign_by_another_algorithm_by_a_change_in_the_store()
    {
        await using (await RunningService.Start(_folder, null, Sample.File))
        {
        }

        Sql("UPDATE signing_keys SET algorithm = 'PS256'");
        await StartFails("does not open");
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task Nothing_is_written_for_a_token()
    {
        await using var service = await RunningService.Start(_folder, null, Sample.File);
        await Task.Delay(1500);
        var before = Stored();

        for (var i = 0; i < 50; i++)
        {
            (await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).Status.Should().Be(200);
        }

        Stored().Should().Equal(before);
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task A_stopped_service_leaves_one_file_and_the_key_to_it()
    {
        await using (await RunningService.Start(_folder, null, Sample.File))
        {
        }

        Directory.GetFiles(_folder.Path).Select(Path.GetFileName).Should().BeEquivalentTo("clients.json", "token-service.db", "token-service.master-key");
    }

    [Fact]
    public void A_change_that_fails_half_way_leaves_nothing()
    {
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        var good = new TokenService.Clients.Resource { Uri = "urn:a", Scopes = [new("s", null)], Origin = TokenService.Clients.Origin.Command };
        var clash = good with { Uri = "urn:b" };

        store.Registry.Invoking(registry => registry.Change(_ => new RegistryChange { Resources = [good, clash] }))
            .Should().Throw<StoreUnavailableException>();

        store.Registry.Read().Resources.Should().BeEmpty();
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public void The_library_syncs_every_commit()
    {
        using var store = SqliteDataSource.Open(null, _folder.Path);
        using var connection = store.OpenConnection();

        connection.QuerySingle<string>("PRAGMA journal_mode").Should().Be("wal");
        connection.QuerySingle<long>("PRAGMA synchronous").Should().Be(2);
        connection.QuerySingle<long>("PRAGMA foreign_keys").Should().Be(1);
    }

    // The data of the store: the file and its write-ahead log.
    private byte[] Stored()
    {
        using var all = new MemoryStream();
        foreach (var name in (string[])["token-service.db", "token-service.db-wal"])
        {
            using var file = new FileStream(_folder.File(name), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            file.CopyTo(all);
        }

        return all.ToArray();
    }

    private async Task StartFails(string message, params string[] settings)
    {
        var start = () => RunningService.Start(_folder, null, null, settings);
        (await start.Should().ThrowAsync<OperatorFaultException>()).Which.Message.Should().Contain(message).And.NotContain("\n");
    }

    private long Count(string sql) => StoreFile.Number(_folder, sql);

    private void Sql(string sql) => StoreFile.Execute(_folder, sql);
}
