using System;
using System.Linq;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Logging.Abstractions;
using TokenService.Clients;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Storage;

/// <summary>
/// A running service reads again only the clients that changed, where nothing else did, and all where it cannot know. Which of both it was is
/// seen by a client that did not change: it is the same object, or another.
/// </summary>
public sealed class ClientChangesTests : IAsyncLifetime, IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private Store _store = null!;
    private StoreWatch _watch = null!;

    public async Task InitializeAsync()
    {
        await using (await RunningService.Start(_folder, null, Sample.File))
        {
            // It makes the keys.
        }

        _store = Store.Open(SettingsTests.Read(_folder.Path));
        _watch = Watch();
    }

    public Task DisposeAsync() => Task.CompletedTask;

    public void Dispose()
    {
        _watch.Dispose();
        _store.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void Reads_only_the_clients_that_were_added_changed_and_removed()
    {
        var (before, untouched) = (_watch.Current, Find(Sample.Wide));

        Change(new() { Clients = [Find("form-job")! with { ClientId = "added" }] });
        Change(new() { Clients = [Find(Sample.Job)! with { Disabled = true, Secrets = [] }], RemovedClients = [Sample.FormJob] });
        _watch.Refresh();

        Find("added")!.Secrets.Should().ContainSingle();
        (Find(Sample.Job)!.Disabled, Find(Sample.Job)!.Secrets.Length, Find(Sample.FormJob)).Should().Be((true, 0, null));
        Find(Sample.Wide).Should().BeSameAs(untouched);
        _watch.Current.Keys.Should().BeSameAs(before.Keys);
        IsAllThereIs();
        (before.Registry.FindClient("added"), before.Registry.FindClient(Sample.Job)!.Disabled, before.Registry.FindClient(Sample.FormJob) is null)
            .Should().Be((null, false, false), "a request goes by what it has taken, to its end");

        Change(new() { RemovedClients = ["added"] });
        _watch.Refresh();
        Find("added").Should().BeNull();
        Find(Sample.Wide).Should().BeSameAs(untouched);
        IsAllThereIs();
    }

    [Fact]
    public void Opens_the_secrets_of_a_client_that_was_added()
    {
        var untouched = Find(Sample.Wide);
        var secret = ClientSecret.Generate(AuthenticationMethods.ClientSecretJwt);

        Change(new()
        {
            Clients =
            [
                Find(Sample.Job)! with
                {
                    ClientId = "signer",
                    AuthenticationMethod = AuthenticationMethods.ClientSecretJwt,
                    Secrets = [new(ClientSecret.Digest(secret), null, Origin.Command) { Recoverable = secret }],
                },
            ],
        });
        _watch.Refresh();

        Find("signer")!.Secrets.Single().Recoverable!.Value.Reveal().Should().Be(secret.Reveal());
        Find(Sample.Wide).Should().BeSameAs(untouched);
    }

    [Fact]
    public void Reads_all_that_changed_over_an_outage_whatever_the_notes_say()
    {
        StoreFile.Execute(_folder, "ALTER TABLE store_version RENAME TO store_version_away");
        _watch.Refresh();
        _watch.Answers.Should().BeFalse();

        StoreFile.Execute(
            _folder,
            $"UPDATE clients SET disabled = 1 WHERE client_id = '{Sample.Wide}'; ALTER TABLE store_version_away RENAME TO store_version");
        Change(new() { Clients = [Find(Sample.Job)! with { Name = "noted" }] });
        _watch.Refresh();

        _watch.Answers.Should().BeTrue();
        Find(Sample.Wide)!.Disabled.Should().BeTrue();
        IsAllThereIs();
    }

    [Fact]
    public void Sees_what_a_build_changed_that_makes_no_notes_before_and_after_one_that_does()
    {
        const string Disable = "UPDATE clients SET disabled = 1 WHERE client_id = '{0}'; UPDATE store_version SET version = version + 1";
        StoreFile.Execute(_folder, Disable.Replace("{0}", Sample.Wide, StringComparison.Ordinal));
        Change(new() { Clients = [Find(Sample.Job)! with { Name = "first" }] });
        _watch.Refresh();
        (Find(Sample.Wide)!.Disabled, Find(Sample.Job)!.Name).Should().Be((true, "first"));

        Change(new() { Clients = [Find(Sample.Job)! with { Name = "second" }] });
        StoreFile.Execute(_folder, Disable.Replace("{0}", Sample.FormJob, StringComparison.Ordinal));
        _watch.Refresh();
        (Find(Sample.FormJob)!.Disabled, Find(Sample.Job)!.Name).Should().Be((true, "second"));
        IsAllThereIs();
    }

    [Fact]
    public void Reads_all_where_a_resource_or_a_key_has_changed()
    {
        var orders = _watch.Current.Registry.FindResource(Sample.OrdersUri)!;
        Change(new() { Resources = [orders with { Name = "Orders" }], Clients = [Find(Sample.Job)! with { Name = "first" }] });
        _watch.Refresh();
        (_watch.Current.Registry.FindResource(Sample.OrdersUri)!.Name, Find(Sample.Job)!.Name).Should().Be(("Orders", "first"));

        var keys = _watch.Current.Keys.Schedule.Keys.Length;
        Change(new() { Clients = [Find(Sample.Job)! with { Name = "second" }] });
        _store.Keys.Change("ES256", TimeProvider.System, (_, now) => new() { NewKeySignsFrom = now });
        _watch.Refresh();
        (_watch.Current.Keys.Schedule.Keys.Length, Find(Sample.Job)!.Name).Should().Be((keys + 1, "second"));
        IsAllThereIs();
    }

    [Theory]
    [InlineData(100, true)]
    [InlineData(101, false)]
    public void Goes_by_the_notes_of_the_last_hundred_changes_and_reads_all_after_more(int changes, bool same)
    {
        var untouched = Find(Sample.Wide);
        Change(new() { Clients = [Find(Sample.FormJob)! with { Disabled = true }] });
        for (var change = 1; change < changes; change++)
        {
            Change(new() { Clients = [Find(Sample.Job)! with { Name = $"change {change}" }] });
        }

        _watch.Refresh();

        (Find(Sample.FormJob)!.Disabled, Find(Sample.Job)!.Name).Should().Be((true, $"change {changes - 1}"));
        ReferenceEquals(Find(Sample.Wide), untouched).Should().Be(same);
        StoreFile.Number(_folder, "SELECT COUNT(*) FROM client_changes").Should().BeLessThanOrEqualTo(100);
        IsAllThereIs();
    }

    [Fact]
    public void Reads_all_after_a_change_of_very_many_clients()
    {
        Change(new() { Clients = [.. Enumerable.Range(0, 101).Select(number => Find(Sample.Job)! with { ClientId = $"job-{number}" })] });
        _watch.Refresh();

        Find("job-100").Should().NotBeNull();
        StoreFile.Number(_folder, "SELECT COUNT(*) FROM client_changes").Should().Be(0);
        IsAllThereIs();
    }

    [Fact]
    public void A_store_that_was_counted_back_is_read_whole_and_its_old_notes_are_gone()
    {
        for (var change = 0; change < 3; change++)
        {
            Change(new() { Clients = [Find(Sample.Job)! with { Name = $"change {change}" }] });
        }

        _watch.Refresh();
        StoreFile.Execute(_folder, "UPDATE store_version SET version = version - 3; UPDATE clients SET disabled = 1");
        _watch.Refresh();
        Find(Sample.Wide)!.Disabled.Should().BeTrue();

        Change(new() { Clients = [Find(Sample.Job)! with { Name = "now" }] });
        StoreFile.Execute(_folder, $"UPDATE clients SET disabled = 0 WHERE client_id = '{Sample.Wide}'; UPDATE store_version SET version = version + 1");
        _watch.Refresh();
        (Find(Sample.Wide)!.Disabled, Find(Sample.Job)!.Name).Should().Be((false, "now"));
    }

    [Fact]
    public void A_dump_of_before_that_was_read_back_over_the_store_is_brought_up_to_date_again()
    {
        Change(new() { Clients = [Find(Sample.Job)! with { Name = "a note" }] });
        StoreFile.Execute(_folder, "DELETE FROM schema_migrations WHERE version = 8");

        using var store = Store.Open(SettingsTests.Read(_folder.Path));

        store.Registry.Read().FindClient(Sample.Job)!.Name.Should().Be("a note");
    }

    [Fact]
    public void A_key_that_was_made_after_the_store_was_counted_back_is_not_hidden_by_an_old_note()
    {
        for (var change = 0; change < 3; change++)
        {
            Change(new() { Clients = [Find(Sample.Job)! with { Name = $"change {change}" }] });
        }

        StoreFile.Execute(_folder, "UPDATE store_version SET version = version - 3");
        using var watch = Watch();
        _store.Keys.Change("ES256", TimeProvider.System, (_, now) => new() { NewKeySignsFrom = now });
        Change(new() { Clients = [Find(Sample.Job)! with { Name = "now" }] });
        watch.Refresh();

        using var another = Watch();
        watch.Current.Keys.Schedule.Should().BeEquivalentTo(another.Current.Keys.Schedule);
    }

    private StoreWatch Watch() => new(_store, new StoreHealth(TimeProvider.System), TimeSpan.FromMinutes(5), TimeProvider.System, NullLogger.Instance);

    private Client? Find(string clientId) => _watch.Current.Registry.FindClient(clientId);

    private void Change(RegistryChange change) => _store.Registry.Change(_ => change);

    // What one that starts now reads.
    private void IsAllThereIs()
    {
        using var another = Watch();
        _watch.Current.Version.Should().Be(another.Current.Version);
        _watch.Current.Registry.Should().BeEquivalentTo(another.Current.Registry);
        _watch.Current.Keys.Schedule.Should().BeEquivalentTo(another.Current.Keys.Schedule);
    }
}
