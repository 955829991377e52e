using System;
using System.Collections.Immutable;
using System.Globalization;
using System.Net;
using System.Text.Json;
using TokenService.Tokens;

namespace TokenService.Operations;

/// <summary>The words of <see cref="AuditRecord.Event"/>.</summary>
public static class AuditEvents
{
    /// <summary>The service has started.</summary>
    public const string Start = "start";

    /// <summary>The service ends, or goes on in another file. Signed.</summary>
    public const string End = "end";

    /// <summary>All that stands before it is so. Signed.</summary>
    public const string Checkpoint = "checkpoint";

    /// <summary>A token was given.</summary>
    public const string TokenIssued = "token_issued";

    /// <summary>A request for a token was refused.</summary>
    public const string TokenRefused = "token_refused";

    /// <summary>A client took back a token.</summary>
    public const string TokenRevoked = "token_revoked";

    /// <summary>A request to take back a token was refused.</summary>
    public const string RevocationRefused = "revocation_refused";

    /// <summary>A question about a token was refused.</summary>
    public const string IntrospectionRefused = "introspection_refused";

    /// <summary>More requests than the service can answer: they were refused without being looked at, and are counted.</summary>
    public const string Overloaded = "overloaded";

    /// <summary>Records that could not be written, and are lost.</summary>
    public const string Dropped = "dropped";

    /// <summary>A signing key was made.</summary>
    public const string KeyAdded = "key_added";

    /// <summary>A signing key begins to sign at another time.</summary>
    public const string KeyChanged = "key_changed";

    /// <summary>A signing key was retired, or is gone.</summary>
    public const string KeyRemoved = "key_removed";

    /// <summary>The store was changed in something that is none of clients, resources, issuers and keys, such as the master key.</summary>
    public const string StoreChanged = "store_changed";
}

/// <summary>
/// One event for the audit log. Nothing in it is a credential: <see cref="Token"/> is there to be read for its id, and is not written.
/// </summary>
/// <param name="Event">One of <see cref="AuditEvents"/>, or <c>client_</c>, <c>resource_</c> or <c>issuer_</c> with <c>added</c>, <c>changed</c> or <c>removed</c>.</param>
/// <param name="Time">When it happened.</param>
public sealed record AuditRecord(string Event, DateTimeOffset Time)
{
    /// <summary>The trace id of the request.</summary>
    public string? TraceId { get; init; }

    /// <summary>Where the request came from.</summary>
    public IPAddress? Address { get; init; }

    /// <summary>The client: one that has proved itself, or the id that was sent by one that has not.</summary>
    public string? ClientId { get; init; }

    /// <summary>How the client proved itself (<c>token_endpoint_auth_method</c>).</summary>
    public string? Method { get; init; }

    /// <summary>Which of its secrets or keys it proved itself with: a name, which says nothing of the secret.</summary>
    public string? Credential { get; init; }

    /// <summary>The <c>grant_type</c>.</summary>
    public string? GrantType { get; init; }

    /// <summary>The <c>scope</c> that a refused request asked for. That of a token is in <see cref="Token"/>.</summary>
    public string? Scope { get; init; }

    /// <summary>Each <c>resource</c> that a refused request asked for.</summary>
    public ImmutableArray<string> Resources { get; init; } = [];

    /// <summary>An access token of this service, in ASCII: its <c>scope</c>, <c>aud</c>, <c>jti</c> and <c>exp</c> are written, and by whom it is delegated.</summary>
    public ReadOnlyMemory<byte> Token { get; init; }

    /// <summary>The same of a token that was read already.</summary>
    public AccessToken? ReadToken { get; init; }

    /// <summary>Whether the token was given before (<c>token_reuse</c>).</summary>
    public bool Reused { get; init; }

    /// <summary>What the caller was answered: <c>issued</c>, <c>revoked</c> or the <c>error</c>.</summary>
    public string? Outcome { get; init; }

    /// <summary>The HTTP status of a refusal.</summary>
    public int? Status { get; init; }

    /// <summary>Which check a refused request did not pass.</summary>
    public string? Check { get; init; }

    /// <summary>Why it was refused, for the operator.</summary>
    public string? Reason { get; init; }

    /// <summary>What was changed: the id of a client, the URI of a resource, the name of an issuer or the <c>kid</c> of a signing key.</summary>
    public string? Id { get; init; }

    /// <summary>The members that were changed, named as in the declarative file.</summary>
    public ImmutableArray<string> Members { get; init; } = [];

    /// <summary>What a key signs with.</summary>
    public string? Algorithm { get; init; }

    /// <summary>When a key begins to sign.</summary>
    public DateTimeOffset? SignsFrom { get; init; }

    /// <summary>The store's change count: where two records that follow each other leave one out, nobody was there to see that change.</summary>
    public long? StoreVersion { get; init; }

    /// <summary>The settings of the service, and what it found in the store.</summary>
    public ImmutableArray<(string Name, string? Value)> Settings { get; init; } = [];

    /// <summary>How many, of what there is no record each.</summary>
    public long? Count { get; init; }

    /// <summary>How many bytes of an unfinished line were found behind the last record, and taken away.</summary>
    public long? TornBytes { get; init; }

    /// <summary>The key that signs this record.</summary>
    public string? Kid { get; init; }

    /// <summary>Writes the members.</summary>
    internal void Write(Utf8JsonWriter json)
    {
        json.WriteString("time"u8, Rfc3339(Time));
        json.WriteString("event"u8, Event);
        Write(json, "trace_id", TraceId);
        Write(json, "address", Address?.ToString());
        Write(json, "client_id", ClientId);
        Write(json, "method", Method);
        Write(json, "credential", Credential);
        Write(json, "grant_type", GrantType);
        if ((ReadToken ?? (Token.IsEmpty ? null : AccessTokenReader.ReadOwn(Token.Span))) is { } token)
        {
            WriteToken(json, token);
        }
        else
        {
            Write(json, "scope", Scope);
            Write(json, "resource", Resources);
        }

        if (Reused)
        {
            json.WriteBoolean("reused"u8, true);
        }

        Write(json, "outcome", Outcome);
        if (Status is { } status)
        {
            json.WriteNumber("status"u8, status);
        }

        Write(json, "check", Check);
        Write(json, "reason", Reason);
        Write(json, "id", Id);
        Write(json, "members", Members);
        Write(json, "alg", Algorithm);
        Write(json, "signs_from", SignsFrom is { } from ? Rfc3339(from) : null);
        if (StoreVersion is { } version)
        {
            json.WriteNumber("store_version"u8, version);
        }

        if (!Settings.IsEmpty)
        {
            json.WriteStartObject("settings"u8);
            foreach (var (name, value) in Settings)
            {
                json.WriteString(name, value);
            }

            json.WriteEndObject();
        }

        if (Count is { } count)
        {
            json.WriteNumber("count"u8, count);
        }

        if (TornBytes is { } torn)
        {
            json.WriteNumber("torn_bytes"u8, torn);
        }

        Write(json, "kid", Kid);
    }

    private static void WriteToken(Utf8JsonWriter json, AccessToken token)
    {
        json.WriteString("scope"u8, token.Scope);
        Write(json, "resource", token.Audience);
        json.WriteString("token_id"u8, token.TokenId);
        json.WriteString("expires_at"u8, Rfc3339(token.ExpiresAt));
        if (token.Delegation is { } delegation)
        {
            json.WriteString("subject"u8, delegation.Subject);
            Write(json, "actors", delegation.Actors);
            Write(json, "exchanged_from", delegation.ExchangedFrom);
        }
    }

    private static void Write(Utf8JsonWriter json, string name, string? value)
    {
        if (value is not null)
        {
            json.WriteString(name, value);
        }
    }

    private static void Write(Utf8JsonWriter json, string name, ImmutableArray<string> values)
    {
        if (values.IsEmpty)
        {
            return;
        }

        json.WriteStartArray(name);
        foreach (var value in values)
        {
            json.WriteStringValue(value);
        }

        json.WriteEndArray();
    }

    private static string Rfc3339(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
}
