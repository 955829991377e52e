using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Globalization;
using System.Linq;
using System.Text.Json;
using TokenService.Administration;
using TokenService.Clients;
using TokenService.Keys;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Endpoints;

/// <summary>The pages of the console: from records to HTML, and nothing else. Pure.</summary>
public static class ConsolePages
{
    /// <summary>Where the console is.</summary>
    public const string Root = "/console";

    // On the page of all clients; that of one has all of them.
    private const int MostCredentials = 4;
    private const int MostScopes = 8;

    private static readonly (string Path, string Name)[] s_tabs =
        [("", "Overview"), ("/clients", "Clients"), ("/keys", "Keys"), ("/refusals", "Refusals"), ("/token", "Token")];

    private static readonly (ClientKind Kind, string Word)[] s_kinds =
        [(ClientKind.All, "all"), (ClientKind.Unused, "unused"), (ClientKind.Expiring, "expiring"), (ClientKind.Disabled, "disabled")];

    /// <summary>The word that the address of a page has for a kind of clients.</summary>
    public static string Word(ClientKind kind) => s_kinds.First(known => known.Kind == kind).Word;

    /// <summary>The kind of a word.</summary>
    /// <returns>The kind; all where there is none of that word.</returns>
    public static ClientKind Kind(string? word) => s_kinds.FirstOrDefault(known => known.Word == word).Kind;

    /// <summary>The first page.</summary>
    public static Html Overview(ConsoleFrame frame, ConsoleOverview overview)
    {
        var counts = overview.Clients.Counts;
        var signing = overview.Keys.First(key => key.State == KeyState.Signing);
        return Page(frame, "", "Overview", Html.Of($"""
            <ul class="tiles">
            {Tile("/clients", counts[ClientKind.All], "clients", false)}
            {Tile("/clients?show=unused", overview.Clients.UsesAreKnown ? counts[ClientKind.Unused] : null, $"not used for {ClientMarks.UnusedFor.TotalDays} days", counts[ClientKind.Unused] > 0)}
            {Tile("/clients?show=expiring", counts[ClientKind.Expiring], $"whose last secret ends within {ClientMarks.EndsWithin.TotalDays} days", counts[ClientKind.Expiring] > 0)}
            {Tile("/clients?show=disabled", counts[ClientKind.Disabled], "disabled", false)}
            </ul>
            <p>Signs with <code>{signing.Key.Kid}</code> ({signing.Key.Algorithm}), since {Time(signing.Key.SignsFrom, frame.Now)}. <a href="{Root}/keys">All keys</a></p>
            {Activity(overview.Activity)}
            <section aria-labelledby="last"><h2 id="last">Last refusals</h2>
            {(overview.Refusals is { Count: > 0 } last
                ? Table("refusals", "The newest first", ["Time", "Client", "Error", "Check", "Reason"], last.Select(refusal => Html.Of($"""
                    <tr><td>{Time(refusal.Time, frame.Now)}</td><td><bdi>{refusal.ClientId ?? "(none)"}</bdi></td><td>{refusal.Error}</td><td>{refusal.Failed.Name}</td>
                    <td><a href="{Root}/refusals?trace_id={refusal.TraceId}">Explain<span class="hidden"> {refusal.TraceId}</span></a></td></tr>
                    """)))
                : Refusals(overview.Refusals, frame.Now))}
            <p><a href="{Root}/refusals">More refusals, explained</a></p></section>
            """));

        static Html Tile(string path, long? count, string what, bool isNoted)
            => Html.Of($"""<li class="{(isNoted ? "tile noted" : "tile")}"><a href="{Root}{path}"><strong>{count?.ToString(CultureInfo.InvariantCulture) ?? "?"}</strong> {what}</a></li>""");
    }

    /// <summary>The page of the clients.</summary>
    public static Html Clients(ConsoleFrame frame, ClientSelection selection) => Page(frame, "/clients", "Clients", Html.Of($"""
        <form class="row" method="get" action="{Root}/clients" role="search">
        <div><label for="q">Id, name or scope has</label><input id="q" name="q" type="search" maxlength="256" value="{selection.Text}"></div>
        <div><label for="show">Show</label><select id="show" name="show">{s_kinds.Select(known => Html.Of(
            $"""<option value="{known.Word}"{(known.Kind == selection.Kind ? Html.Of($" selected") : default)}>{known.Word} ({selection.Counts[known.Kind]})</option>"""))}</select></div>
        <button>Search</button>
        </form>
        {(selection.UsesAreKnown ? default : Notice("The store does not answer: when clients were last used is not known."))}
        {Table(
            "clients",
            $"{selection.Found} {(selection.Found == 1 ? "client" : "clients")}, page {selection.Page} of {selection.Pages}",
            ["Client", "Method", "Scopes", "Credentials", "Last used", "To notice"],
            selection.Clients.Select(entry => Row(entry.Client, entry.Marks, selection.UsesAreKnown, frame.Now)))}
        {Pages(selection)}
        <p class="muted">Unused: nobody has used it for {ClientMarks.UnusedFor.TotalDays} days, or since it was registered. Ends soon: its last secret ends within
        {ClientMarks.EndsWithin.TotalDays} days, or has ended. What others than this service have seen is known after a minute.</p>
        """));

    /// <summary>The page of one client.</summary>
    public static Html Client(ConsoleFrame frame, ClientInUse client, ClientMarks marks, bool usesAreKnown) => Page(frame, "/clients", client.Client.ClientId, Html.Of($"""
        <p>{Marks(client, marks, frame.Now)}</p>
        {(usesAreKnown ? default : Notice("The store does not answer: when it was last used is not known."))}
        {Terms(client.Members.Where(member => usesAreKnown || member.Member != "last used"))}
        {Table(
            "secrets",
            "Secrets",
            ["Secret", "Ends", "Registered by", "Last used"],
            client.Secrets.Select(entry => Html.Of($"""
                <tr><th scope="row"><code>{entry.Secret.Id}</code></th><td>{End(entry.Secret, frame.Now)}</td>
                <td>{(entry.Secret.Origin == Origin.File ? "file" : "command")}</td><td>{Used(entry.LastUsedAt, usesAreKnown, frame.Now)}</td></tr>
                """)))}
        {Table(
            "keys",
            client.Client.JwksUri is null ? "Keys" : "Keys that it has used",
            ["Key", "Algorithm", "Last used"],
            client.Keys.Select(entry => Html.Of($"""
                <tr><th scope="row"><code>{entry.Id}</code></th><td>{string.Join(' ', entry.Algorithms ?? [])}</td><td>{Used(entry.LastUsedAt, usesAreKnown, frame.Now)}</td></tr>
                """)))}
        <p><a href="{Root}/clients">All clients</a></p>
        """));

    /// <summary>The page of the keys.</summary>
    public static Html Keys(ConsoleFrame frame, ConsoleKeys keys)
    {
        var (from, to) = ConsoleCharts.Span(keys, frame.Now);
        return Page(frame, "/keys", "Keys", Html.Of($"""
            <section class="card" aria-labelledby="line"><h2 id="line">Time line</h2>
            <ul class="legend"><li><span class="key published"></span>published, does not sign yet</li><li><span class="key signing"></span>signs</li>
            <li><span class="key retiring"></span>retiring: published until its last token has ended</li><li><span class="key now"></span>now</li></ul>
            <ol class="lives">
            {keys.Keys.Select((key, place) => Html.Of($"""
                <li><div><code>{key.Key.Kid}</code> {State(key.State)}</div>{ConsoleCharts.Life(keys, place, frame.Now)}</li>
                """))}
            </ol>
            <div class="axis"><span>{Day(from)}</span><span>{Day(to)}</span></div>
            <p class="muted">The key that signs is drawn until the next one is due, by <code>TokenService:KeyRotation</code>.</p></section>
            {Table(
                "keys",
                "Signing keys",
                ["Key", "Algorithm", "State", "Made", "Signs from", "Gone at"],
                keys.Keys.Select(key => Html.Of($"""
                    <tr><th scope="row"><code>{key.Key.Kid}</code></th><td>{key.Key.Algorithm}</td><td>{State(key.State)}</td><td>{Time(key.Key.CreatedAt, frame.Now)}</td>
                    <td>{Time(key.Key.SignsFrom, frame.Now)}</td><td>{(key.GoneAt is { } gone ? Time(gone, frame.Now) : Html.Of($"""<span class="muted">when the next one signs</span>"""))}</td></tr>
                    """)))}
            """));
    }

    /// <summary>The page of the refusals.</summary>
    public static Html Refusals(ConsoleFrame frame, ConsoleRefusals page) => Page(frame, "/refusals", "Refusals", Html.Of($"""
        <form class="row" method="get" action="{Root}/refusals" role="search">
        <div class="wide"><label for="trace_id">Trace id of a refusal, from its answer or from the log</label>
        <input id="trace_id" name="trace_id" type="search" maxlength="64" value="{page.TraceId}" autocomplete="off" spellcheck="false"></div>
        <button>Explain</button>
        </form>
        <section aria-labelledby="list"><h2 id="list">{(page.TraceId.Length == 0 ? "The last, newest first" : "With this trace id, the oldest first")}</h2>
        {(page is { TraceId.Length: > 0, Refusals.Count: 0 }
            ? Notice($"None is kept: only the last {RefusalStore.MostKept} are, each from about a second after its answer. The log may have more.")
            : Refusals(page.Refusals, frame.Now))}
        </section>
        """));

    /// <summary>The page with the decoder.</summary>
    /// <param name="frame">What stands around it.</param>
    /// <param name="decoded">The token that was pasted; <see langword="null"/> where none was.</param>
    public static Html Token(ConsoleFrame frame, DecodedToken? decoded) => Page(frame, "/token", "Token", Html.Of($"""
        <form class="card" method="post" action="{Root}/token" autocomplete="off">
        <label for="token">Access token</label>
        <textarea id="token" name="token" rows="5" required spellcheck="false" autocapitalize="off" aria-describedby="token-note"></textarea>
        <p id="token-note" class="muted">It is read here, and neither kept nor logged. A token that is live is a credential: whoever sees it can use it.</p>
        <button>Decode and verify</button>
        </form>
        {(decoded is null ? default : Decoded(decoded, frame.Now))}
        """));

    /// <summary>What somebody sees who may not see the console, with a form for his token.</summary>
    public static Html Closed(ConsoleFrame frame, ConsoleRefusal refusal) => Page(frame, null, "Sign in", Html.Of($"""
        <p class="{(refusal.Error is null ? "notice" : "notice bad")}" role="alert">{refusal.Text}</p>
        <form class="card" method="post" action="{Root}/login" autocomplete="off">
        <label for="token">Access token</label>
        <input id="token" name="token" type="password" required autocomplete="off" spellcheck="false" aria-describedby="token-note">
        <p id="token-note" class="muted">It is kept in a cookie of this browser, for this console alone, and no longer than it is good.</p>
        <button>Sign in</button>
        </form>
        <section aria-labelledby="how"><h2 id="how">How to get a token</h2>
        <p>Once, a resource that owns the scope, and a client for an operator:</p>
        {Commands("resources add urn:tokenservice:console --scope tokenservice.console", "clients add --id NAME --scope tokenservice.console --lifetime 3600")}
        <p>Then, for each visit, a token with the secret that was printed:</p>
        <div class="scroll" role="region" aria-label="Command" tabindex="0"><pre><code>curl -u NAME:SECRET -d grant_type=client_credentials -d scope=tokenservice.console {frame.Issuer}{EndpointPaths.Token}</code></pre></div>
        <p>Scripts send it as <code>Authorization: Bearer</code> and need no cookie.</p></section>
        """));

    /// <summary>A page that says one thing.</summary>
    public static Html Message(ConsoleFrame frame, string title, string text) => Page(frame, null, title, Html.Of($"""
        <p class="notice bad" role="alert">{text}</p>
        {(frame.IsOpen ? Html.Of($"""<p><a href="{Root}">Overview</a></p>""") : default)}
        """));

    private static Html Commands(params string[] commands) => Html.Of(
        $"""<div class="scroll" role="region" aria-label="Commands" tabindex="0"><pre><code>{string.Join('\n', commands.Select(command => $"TokenService {command}"))}</code></pre></div>""");

    private static Html Page(ConsoleFrame frame, string? tab, string title, Html main) => Html.Of($"""
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>{title} - TokenService</title>
        <link rel="icon" href="data:,">
        <link rel="stylesheet" href="{Root}/console.css">
        <script src="{Root}/console.js" defer></script>
        </head>
        <body>
        <a class="skip" href="#main">Skip to the content</a>
        <header>
        <p class="brand">TokenService <span class="muted">{frame.Issuer}</span></p>
        {(frame.IsOpen ? Html.Of($"""<nav aria-label="Console"><ul>{s_tabs.Select(known => Html.Of(
            $"""<li><a href="{Root}{known.Path}"{(known.Path == tab ? Html.Of($""" aria-current="page" """) : default)}>{known.Name}</a></li>"""))}</ul></nav>""") : default)}
        </header>
        <main id="main" tabindex="-1">
        <h1>{title}</h1>
        {(frame.StoreAway is { } away ? Notice($"The store has not answered for {Length(away)}. What is shown is what it said then.") : default)}
        {main}
        </main>
        <footer>
        <p class="muted">{(frame.Visitor is { } visitor ? Html.Of($"Opened by a token of <bdi>{visitor}</bdi>. ") : frame.IsOpen ? Html.Of($"Development: on this machine no token is asked for. ") : default)}Read-only.
        Version {Telemetry.Version}, {frame.Now.UtcDateTime.ToString("u", CultureInfo.InvariantCulture)}</p>
        {(frame.CanSignOut ? Html.Of($"""<form method="post" action="{Root}/logout"><button class="plain">Sign out</button></form>""") : default)}
        </footer>
        </body>
        </html>

        """);

    private static Html Activity(ImmutableArray<ActivityPeriod> periods)
    {
        var hours = periods.Reverse().Chunk((int)(TimeSpan.FromHours(1) / TokenActivity.Period)).Select(Sum).ToList();
        var all = Sum(periods);
        return Html.Of($"""
            <section class="card" aria-labelledby="activity-title"><h2 id="activity-title">Tokens in the last {hours.Count} hours</h2>
            <p id="activity-sum"><span class="key issued"></span><strong data-sum="issued">{all.Issued}</strong> issued, <span class="key refused"></span><strong data-sum="refused">{all.Refused}</strong> refused
            by this process, since it started at the earliest. <span class="live" data-live hidden>Live</span></p>
            <div class="axis"><span>up to <span data-top>{ConsoleCharts.Top(periods)}</span> in {TokenActivity.Period.TotalMinutes} minutes</span></div>
            {ConsoleCharts.Activity(periods)}
            <div class="axis"><span>{hours.Count} hours ago</span><span>now</span></div>
            <details><summary>By the hour</summary>
            {Table("hours", "Tokens issued and refused by the hour", ["Hours ago", "Issued", "Refused"], hours.Select((hour, i) => Html.Of($"""
                <tr data-hour="{i}"><th scope="row">{i} to {i + 1}</th><td>{hour.Issued}</td><td>{hour.Refused}</td></tr>
                """)))}
            </details></section>
            """);

        static ActivityPeriod Sum(IEnumerable<ActivityPeriod> some) => new(some.Sum(period => period.Issued), some.Sum(period => period.Refused));
    }

    private static Html Row(ClientInUse client, ClientMarks marks, bool usesAreKnown, DateTimeOffset now)
    {
        var credentials = client.Secrets.Select(entry => Html.Of($"secret <code>{entry.Secret.Id}</code>, {End(entry.Secret, now)}, {Use(entry.LastUsedAt)}"))
            .Concat(client.Keys.Select(entry => Html.Of($"key <code>{entry.Id}</code>, {Use(entry.LastUsedAt)}"))).ToList();
        return Html.Of($"""
            <tr><th scope="row"><a href="{Root}/client?id={Uri.EscapeDataString(client.Client.ClientId)}">{client.Client.ClientId}</a>{(client.Client.Name is { } name ? Html.Of($"<br><bdi>{name}</bdi>") : default)}</th>
            <td>{client.Client.AuthenticationMethod}</td>
            <td>{First(MostScopes, [.. client.Client.Scopes.Select(scope => Html.Of($"<code>{scope}</code>"))])}</td>
            <td>{First(MostCredentials, credentials)}</td>
            <td>{Used(client.LastUsedAt, usesAreKnown, now)}</td>
            <td>{Marks(client, marks, now)}</td></tr>
            """);

        Html Use(DateTimeOffset? at) => at is null && usesAreKnown ? Html.Of($"never used") : Html.Of($"used {Used(at, usesAreKnown, now)}");
    }

    private static Html Marks(ClientInUse client, ClientMarks marks, DateTimeOffset now)
    {
        return Html.Of($"""{Mark(marks.Disabled, "disabled", "off")}{Mark(marks.Unused, "unused", "noted")}{Mark(
            marks.Expiring, client.SecretsEndAt <= now ? "no secret is good" : "ends soon", "bad")}""");

        static Html Mark(bool isThere, string word, string kind) => isThere ? Html.Of($"""<span class="mark {kind}">{word}</span> """) : default;
    }

    private static Html Pages(ClientSelection selection)
    {
        return selection.Pages == 1 ? default : Html.Of($"""
            <nav class="pages" aria-label="Pages">{(selection.Page > 1 ? To(selection.Page - 1, "Previous page") : default)}
            {(selection.Page < selection.Pages ? To(selection.Page + 1, "Next page") : default)}</nav>
            """);

        Html To(int page, string word)
            => Html.Of($"""<a href="{Root}/clients?q={Uri.EscapeDataString(selection.Text)}&amp;show={Word(selection.Kind)}&amp;page={page}">{word}</a>""");
    }

    private static Html Refusals(IReadOnlyList<Refusal>? refusals, DateTimeOffset now) => refusals switch
    {
        null => Notice("The store does not answer: what was refused is in the log."),
        { Count: 0 } => Html.Of($"""<p class="muted">None.</p>"""),
        _ => Html.Of($"""
            {refusals.Select(refusal => Html.Of($"""
                <article class="card"><h3>{refusal.Error}: {refusal.Failed.Name}</h3><p class="muted">{refusal.ClientId ?? "no client id"}, {Time(refusal.Time, now)}</p>
                {Terms(refusal.Lines)}</article>
                """))}
            """),
    };

    private static Html Decoded(DecodedToken decoded, DateTimeOffset now)
    {
        return Html.Of($"""
            <section aria-labelledby="verdict"><h2 id="verdict">{(decoded.Faults.IsEmpty ? "Good" : "Not good")}</h2>
            {(decoded.Faults.IsEmpty
                ? Html.Of($"""<p class="notice good">This service signed it, it has not ended, and neither was it revoked nor its client disabled.{(Has(decoded, "cnf") ? " It is bound to a key: that the sender has it, the resource must check." : "")}</p>""")
                : Html.Of($"""<p class="notice bad">This service does not stand for it.{(IsOwn(decoded) ? "" : " What it says may be anybody's words.")}</p>"""))}
            {(decoded.Faults.IsEmpty ? default : Table("faults", "What is wrong", ["Check", "Expected", "Came"], decoded.Faults.Select(fault => Html.Of(
                $"""<tr><th scope="row"><code>{fault.Name}</code></th><td>{fault.Expected}</td><td>{fault.Came}</td></tr>"""))))}
            {Json("header", "Header", decoded.Token.Header)}{Json("claims", "Claims", decoded.Token.Claims)}</section>
            """);

        Html Json(string id, string caption, JsonElement? json) => json is not { } members ? default : Table(
            id,
            caption,
            ["Name", "Value"],
            members.EnumerateObject().Select(member => Html.Of(
                $"""<tr><th scope="row"><code>{member.Name}</code></th><td><code>{member.Value.GetRawText()}</code>{Moment(member)}</td></tr>""")));

        Html Moment(JsonProperty member)
            => member.Name is "iat" or "exp" or "nbf" && member.Value.ValueKind == JsonValueKind.Number
                && member.Value.TryGetInt64(out var seconds) && seconds is > 0 and < 253_402_300_800
                ? Html.Of($" {Time(DateTimeOffset.FromUnixTimeSeconds(seconds), now)}")
                : default;
    }

    private static bool Has(DecodedToken decoded, string claim) => decoded.Token.Claims is { } claims && claims.TryGetProperty(claim, out _);

    // Where only its time is over or somebody took it back, its words are this service's.
    private static bool IsOwn(DecodedToken decoded) => decoded.Faults.All(fault => fault.Name is "exp" or "iat" or "jti" or "client_id" or "store");

    /// <summary>In a box of its own, which scrolls where the table is wider than the page and can be reached by keyboard for that.</summary>
    private static Html Table(string id, string caption, string[] columns, IEnumerable<Html> rows)
    {
        var body = rows.ToList();
        return body.Count == 0 ? default : Html.Of($"""
            <div class="scroll" role="region" aria-labelledby="{id}-caption" tabindex="0"><table class="{id}"><caption id="{id}-caption">{caption}</caption>
            <thead><tr>{columns.Select(column => Html.Of($"""<th scope="col">{column}</th>"""))}</tr></thead>
            <tbody>
            {body}</tbody></table></div>
            """);
    }

    private static Html Terms(IEnumerable<(string Name, string Value)> terms)
        => Html.Of($"<dl>{terms.Select(term => Html.Of($"<div><dt>{term.Name}</dt><dd><bdi>{term.Value}</bdi></dd></div>"))}</dl>");

    private static Html First(int most, List<Html> items) => Html.Of($"""
        <ul class="plain">{items.Take(most).Select(item => Html.Of($"<li>{item}</li>"))}{(items.Count > most ? Html.Of($"<li>and {items.Count - most} more</li>") : default)}</ul>
        """);

    private static Html Notice(string text) => Html.Of($"""<p class="notice">{text}</p>""");

    private static Html State(KeyState state)
    {
        var word = state.ToString().ToLowerInvariant();
        return Html.Of($"""<span class="mark {word}">{word}</span>""");
    }

    private static Html End(ClientSecret secret, DateTimeOffset now) => secret.ExpiresAt is { } end
        ? Html.Of($"{(secret.IsLive(now) ? "ends" : "ended")} {Time(end, now)}")
        : Html.Of($"no end");

    private static Html Used(DateTimeOffset? at, bool usesAreKnown, DateTimeOffset now)
        => at is { } time ? Time(time, now) : Html.Of($"{(usesAreKnown ? "never" : "not known")}");

    private static Html Time(DateTimeOffset time, DateTimeOffset now)
    {
        var apart = Length((time - now).Duration());
        return Html.Of($"""<time datetime="{time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture)}">{time.UtcDateTime.ToString("u", CultureInfo.InvariantCulture)}</time> <span class="muted">({(time > now ? $"in {apart}" : $"{apart} ago")})</span>""");
    }

    private static string Day(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd HH:mm'Z'", CultureInfo.InvariantCulture);

    // To the unit that one would say.
    private static string Length(TimeSpan length) => length switch
    {
        { TotalDays: >= 2 } => $"{(long)length.TotalDays} days",
        { TotalHours: >= 2 } => $"{(long)length.TotalHours} hours",
        { TotalMinutes: >= 2 } => $"{(long)length.TotalMinutes} minutes",
        _ => $"{(long)length.TotalSeconds} s",
    };
}
