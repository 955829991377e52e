using System;
using System.Collections.Immutable;
using System.Linq;
using TokenService.Clients;
using TokenService.Storage;

namespace TokenService.Administration;

/// <summary>Which clients somebody would look at.</summary>
public enum ClientKind
{
    /// <summary>All of them.</summary>
    All = 0,

    /// <summary>Those that nobody has used for <see cref="ClientMarks.UnusedFor"/>.</summary>
    Unused = 1,

    /// <summary>Those whose last secret has ended, or ends within <see cref="ClientMarks.EndsWithin"/>.</summary>
    Expiring = 2,

    /// <summary>Those that were switched off.</summary>
    Disabled = 3,
}

/// <summary>What an operator should notice of a client.</summary>
/// <param name="Disabled">It was switched off.</param>
/// <param name="Unused">Nobody has used it for <see cref="UnusedFor"/>.</param>
/// <param name="Expiring">Its last secret has ended, or ends within <see cref="EndsWithin"/>.</param>
public readonly record struct ClientMarks(bool Disabled, bool Unused, bool Expiring)
{
    /// <summary>How long nobody has used a client that is marked as unused.</summary>
    public static readonly TimeSpan UnusedFor = TimeSpan.FromDays(30);

    /// <summary>How soon the last secret of a client ends that is marked for it.</summary>
    public static readonly TimeSpan EndsWithin = TimeSpan.FromDays(14);

    /// <summary>Tells them of one client.</summary>
    /// <param name="client">The client.</param>
    /// <param name="usesAreKnown">Whether the uses of its credentials are; without them none is marked as unused.</param>
    /// <param name="now">The time.</param>
    public static ClientMarks Of(ClientInUse client, bool usesAreKnown, DateTimeOffset now) => new(
        client.Client.Disabled, usesAreKnown && client.IsUnusedSince(now - UnusedFor), client.SecretsEndAt is { } end && end < now + EndsWithin);

    /// <summary>Whether one with these marks is of that kind.</summary>
    public bool Are(ClientKind kind) => kind switch
    {
        ClientKind.Unused => Unused,
        ClientKind.Expiring => Expiring,
        ClientKind.Disabled => Disabled,
        _ => true,
    };
}

/// <summary>Some of the clients, with what there is to notice, in the order of their ids: a page of those that somebody would look at. Pure.</summary>
public sealed record ClientSelection
{
    /// <summary>How many are on a page.</summary>
    public const int PageSize = 50;

    /// <summary>What their id, name or one of their scopes has in it; an empty text for all.</summary>
    public required string Text { get; init; }

    /// <summary>Of which kind they are.</summary>
    public required ClientKind Kind { get; init; }

    /// <summary>The page, from 1 on.</summary>
    public required int Page { get; init; }

    /// <summary>How many pages there are.</summary>
    public required int Pages { get; init; }

    /// <summary>How many there are on all pages.</summary>
    public required int Found { get; init; }

    /// <summary>How many clients of each kind are registered, whatever their text.</summary>
    public required ImmutableDictionary<ClientKind, int> Counts { get; init; }

    /// <summary>Those of this page.</summary>
    public required ImmutableArray<(ClientInUse Client, ClientMarks Marks)> Clients { get; init; }

    /// <summary>Whether the times of use are known.</summary>
    public required bool UsesAreKnown { get; init; }

    /// <summary>Selects them.</summary>
    /// <param name="registry">All clients.</param>
    /// <param name="uses">The uses of their credentials, by client id; <see langword="null"/> where they are not known.</param>
    /// <param name="text">As <see cref="Text"/>, in any case.</param>
    /// <param name="kind">As <see cref="Kind"/>.</param>
    /// <param name="page">As <see cref="Page"/>; the last one where there are less.</param>
    /// <param name="now">The time.</param>
    public static ClientSelection Of(Registry registry, ILookup<string, CredentialUse>? uses, string text, ClientKind kind, int page, DateTimeOffset now)
    {
        var all = registry.Clients
            .Select(client => new ClientInUse(client, uses is null ? [] : [.. uses[client.ClientId]]))
            .Select(client => (Client: client, Marks: ClientMarks.Of(client, uses is not null, now)))
            .ToList();
        var found = all.Where(entry => entry.Marks.Are(kind) && Has(entry.Client.Client, text)).ToList();
        var pages = Math.Max(1, (found.Count + PageSize - 1) / PageSize);
        page = Math.Clamp(page, 1, pages);
        return new ClientSelection
        {
            Text = text,
            Kind = kind,
            Page = page,
            Pages = pages,
            Found = found.Count,
            Counts = Enum.GetValues<ClientKind>().ToImmutableDictionary(each => each, each => all.Count(entry => entry.Marks.Are(each))),
            Clients = [.. found.OrderBy(entry => entry.Client.Client.ClientId, StringComparer.Ordinal).Skip((page - 1) * PageSize).Take(PageSize)],
            UsesAreKnown = uses is not null,
        };
    }

    private static bool Has(Client client, string text)
    {
        return text.Length == 0 || IsIn(client.ClientId) || IsIn(client.Name ?? "") || client.Scopes.Any(IsIn);

        bool IsIn(string whole) => whole.Contains(text, StringComparison.OrdinalIgnoreCase);
    }
}
