using System;
using Microsoft.Extensions.Logging;

namespace TokenService.Operations;

/// <summary>Every line that the service logs. No message takes a secret, a token or an assertion.</summary>
public static partial class Log
{
    /// <summary>The category of all lines.</summary>
    public const string Category = "TokenService";

    /// <summary>The service is up.</summary>
    [LoggerMessage(1, LogLevel.Information, "Issuer {issuer}, signing with {algorithm}, key {kid}; {clients} clients, {resources} resources.")]
    public static partial void Started(this ILogger logger, string issuer, string algorithm, string kid, int clients, int resources);

    /// <summary>The setting names another algorithm than the key that signs.</summary>
    [LoggerMessage(2, LogLevel.Warning, "TokenService:SigningAlgorithm is {wanted}, and the signing key in the store is for {actual}: the setting takes effect with the next key.")]
    public static partial void AnotherAlgorithm(this ILogger logger, string wanted, string actual);

    /// <summary>A token was given: one of its own, or one that was given before (<c>token_reuse</c>).</summary>
    [LoggerMessage(10, LogLevel.Debug, "Token for client {clientId}: scope {scope}, reused {reused} (trace_id {traceId})")]
    public static partial void TokenIssued(this ILogger logger, string clientId, string scope, bool reused, string traceId);

    /// <summary>A request was refused.</summary>
    [LoggerMessage(11, LogLevel.Information, "Refused {path} from {address}: {error}: {reason} (trace_id {traceId})")]
    public static partial void Refused(this ILogger logger, string path, string address, string error, string reason, string traceId);

    /// <summary>A caller was told to slow down. Not louder: it would be told so thousands of times a second.</summary>
    [LoggerMessage(12, LogLevel.Debug, "Slowed down {path} from {address}: {reason} (trace_id {traceId})")]
    public static partial void SlowedDown(this ILogger logger, string path, string address, string reason, string traceId);

    /// <summary>A declarative file was taken in.</summary>
    [LoggerMessage(20, LogLevel.Information, "Applied {file}: {added} added, {changed} changed, {removed} removed.")]
    public static partial void Applied(this ILogger logger, string file, int added, int changed, int removed);

    /// <summary>A declarative file was changed to something that cannot be taken in.</summary>
    [LoggerMessage(21, LogLevel.Error, "The clients and resources stay as they were: {fault}")]
    public static partial void NotApplied(this ILogger logger, string fault);

    /// <summary>A changed store was read.</summary>
    [LoggerMessage(30, LogLevel.Information, "Read the changed store: {clients} clients, {resources} resources.")]
    public static partial void StoreRead(this ILogger logger, int clients, int resources);

    /// <summary>The store could not be read.</summary>
    [LoggerMessage(31, LogLevel.Error, "The store cannot be read; requests go on with what was last read from it. {fault}")]
    public static partial void StoreUnreadable(this ILogger logger, string fault);

    /// <summary>The store can be read again.</summary>
    [LoggerMessage(32, LogLevel.Information, "The store can be read again.")]
    public static partial void StoreReadable(this ILogger logger);

    /// <summary>The keys of a client could not be fetched; those that are there go on being used.</summary>
    [LoggerMessage(13, LogLevel.Warning, "The key set at {uri} cannot be fetched: {fault}")]
    public static partial void KeysNotFetched(this ILogger logger, string uri, string fault);

    /// <summary>The use of assertions could not be noted, so they were answered with 503.</summary>
    [LoggerMessage(33, LogLevel.Error, "Client assertions cannot be accepted while the store does not take the note that they were used. {fault}")]
    public static partial void AssertionsNotNoted(this ILogger logger, string fault);

    /// <summary>A signing key was made.</summary>
    [LoggerMessage(50, LogLevel.Information, "Published the new signing key {kid} for {algorithm}; it signs from {signsFrom:u}.")]
    public static partial void KeyPublished(this ILogger logger, string kid, string algorithm, DateTimeOffset signsFrom);

    /// <summary>A signing key was removed.</summary>
    [LoggerMessage(51, LogLevel.Information, "Removed the signing key {kid}: all that it signed has expired.")]
    public static partial void KeyRemoved(this ILogger logger, string kid);

    /// <summary>The next step in the life of the signing keys failed; the one that signs goes on.</summary>
    [LoggerMessage(52, LogLevel.Error, "The signing keys stay as they are, and the next one is tried again in a minute: {fault}")]
    public static partial void KeysNotChanged(this ILogger logger, string fault);

    /// <summary>A client took back a token. Its id says nothing to who has not the token.</summary>
    [LoggerMessage(14, LogLevel.Information, "Client {clientId} revoked its token {tokenId} (trace_id {traceId})")]
    public static partial void TokenRevoked(this ILogger logger, string clientId, string tokenId, string traceId);

    /// <summary>Revocations could not be noted, so they were answered with 503.</summary>
    [LoggerMessage(34, LogLevel.Error, "Tokens cannot be revoked while the store does not take the note of it. {fault}")]
    public static partial void RevocationsNotNoted(this ILogger logger, string fault);

    /// <summary>When credentials were last used could not be written; it is kept for the next try.</summary>
    [LoggerMessage(36, LogLevel.Warning, "When clients and their credentials were last used cannot be written for now; tokens do not depend on it. {fault}")]
    public static partial void UsesNotWritten(this ILogger logger, string fault);

    /// <summary>Refusals were not kept for <c>explain</c>; the lines of the log have them all. Once a minute at most.</summary>
    [LoggerMessage(37, LogLevel.Warning, "{count} refusals are not kept for explain. {fault}")]
    public static partial void RefusalsDropped(this ILogger logger, long count, string fault);

    /// <summary>There were more requests than can be answered. Every ten seconds at most, and nothing of each of them.</summary>
    [LoggerMessage(38, LogLevel.Warning, "Too much load: refused {count} requests in the last ten seconds.")]
    public static partial void Overloaded(this ILogger logger, long count);

    /// <summary>There were more connections than there may be. Once a second at most.</summary>
    [LoggerMessage(39, LogLevel.Warning, "Too many connections: closed {count} that waited for a request.")]
    public static partial void ConnectionsGaveWay(this ILogger logger, int count);

    /// <summary>What is in memory became too old to go by, so all is answered with 503.</summary>
    [LoggerMessage(63, LogLevel.Error, "The store has not answered for {maxStaleness} (TokenService:MaxStaleness, or less with a short TokenService:KeyPublishAhead): no more tokens until it does.")]
    public static partial void StoreTooOld(this ILogger logger, TimeSpan maxStaleness);

    /// <summary>The store takes notes again that it did not take.</summary>
    [LoggerMessage(64, LogLevel.Information, "The store works again: no longer that {use}.")]
    public static partial void StoreWritable(this ILogger logger, string use);

    /// <summary>A fault of our own in a request.</summary>
    [LoggerMessage(40, LogLevel.Error, "Failed to answer {path} (trace_id {traceId})")]
    public static partial void Failed(this ILogger logger, Exception? exception, string path, string traceId);

    /// <summary>A changed TLS certificate is in use.</summary>
    [LoggerMessage(60, LogLevel.Information, "Took up the TLS certificate in {file}: {subject}, good until {until:u}.")]
    public static partial void CertificateTakenUp(this ILogger logger, string file, string subject, DateTime until);

    /// <summary>A changed TLS certificate cannot be used.</summary>
    [LoggerMessage(61, LogLevel.Error, "The TLS certificate in {file} with the key in {keyFile} cannot be used; the one before it stays in use. {fault}")]
    public static partial void CertificateNotTakenUp(this ILogger logger, string file, string keyFile, string fault);

    /// <summary>What operators ask for is answered, beside the addresses of the service.</summary>
    [LoggerMessage(3, LogLevel.Information, "Management listens at {url}.")]
    public static partial void ManagementListens(this ILogger logger, string url);

    /// <summary>Somebody has signed in to the console.</summary>
    [LoggerMessage(80, LogLevel.Information, "The console was opened from {address} with a token of {clientId}.")]
    public static partial void ConsoleOpened(this ILogger logger, string address, string clientId);

    /// <summary>Somebody may not sign in to the console.</summary>
    [LoggerMessage(81, LogLevel.Warning, "The console was not opened from {address}: {reason}")]
    public static partial void ConsoleRefused(this ILogger logger, string address, string reason);

    /// <summary>The service ends, and has not written all.</summary>
    [LoggerMessage(62, LogLevel.Warning, "The store does not take what is left to write; the service ends without it. No token and no revocation depends on it.")]
    public static partial void EndsUnwritten(this ILogger logger);

    /// <summary>The audit log goes on, or begins with record 0. Kept elsewhere, the line shows later that nothing of what was there then is gone.</summary>
    [LoggerMessage(70, LogLevel.Information, "The audit log {file} goes on behind record {sequence}, hash {hash}.")]
    public static partial void AuditGoesOn(this ILogger logger, string file, long sequence, string hash);

    /// <summary>The audit log cannot be written; it is tried again each second.</summary>
    [LoggerMessage(71, LogLevel.Error, "The audit log {file} cannot be written; {consequence} until it can. {fault}")]
    public static partial void AuditNotWritten(this ILogger logger, string file, string consequence, string fault);

    /// <summary>What stands in the audit log cannot be gone on with.</summary>
    [LoggerMessage(73, LogLevel.Warning, "The audit log {file} ends in something that no key of this service vouches for: a new chain begins behind it. Ask audit verify what was changed.")]
    public static partial void AuditBeginsAnew(this ILogger logger, string file);

    /// <summary>The audit log can be written again.</summary>
    [LoggerMessage(72, LogLevel.Information, "The audit log {file} can be written again; records that are lost: {lost}.")]
    public static partial void AuditWritten(this ILogger logger, string file, long lost);
}
