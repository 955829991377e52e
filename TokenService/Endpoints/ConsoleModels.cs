using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using TokenService.Administration;
using TokenService.Keys;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary>What stands around each page of the console.</summary>
/// <param name="Issuer">The issuer.</param>
/// <param name="Now">The time.</param>
/// <param name="Visitor">The client whose token opens the console; <see langword="null"/> on loopback, where none does, and where it is closed.</param>
/// <param name="IsOpen">Whether the pages may be seen: then there are links to them.</param>
/// <param name="CanSignOut">Whether a cookie opens it.</param>
/// <param name="StoreAway">How long ago the store has last answered, where it does not answer.</param>
public sealed record ConsoleFrame(string Issuer, DateTimeOffset Now, string? Visitor, bool IsOpen, bool CanSignOut, TimeSpan? StoreAway);

/// <summary>The first page.</summary>
/// <param name="Clients">How many clients there are of each kind.</param>
/// <param name="Resources">How many resources there are.</param>
/// <param name="Keys">The signing keys.</param>
/// <param name="Activity">What happened at the token endpoint.</param>
/// <param name="Refusals">The last refusals; <see langword="null"/> where the store does not tell them.</param>
public sealed record ConsoleOverview(
    ClientSelection Clients, int Resources, ImmutableArray<ScheduledKey> Keys, ImmutableArray<ActivityPeriod> Activity, IReadOnlyList<Refusal>? Refusals);

/// <summary>The page of the keys.</summary>
/// <param name="Keys">The signing keys.</param>
/// <param name="Rotation">How old the signing key becomes before the next one signs.</param>
public sealed record ConsoleKeys(ImmutableArray<ScheduledKey> Keys, TimeSpan Rotation);

/// <summary>The page of the refusals.</summary>
/// <param name="TraceId">The trace id that was asked for; an empty text for the last of all.</param>
/// <param name="Refusals">The refusals; <see langword="null"/> where the store does not tell them.</param>
public sealed record ConsoleRefusals(string TraceId, IReadOnlyList<Refusal>? Refusals);

/// <summary>A token that was pasted.</summary>
/// <param name="Token">What it says.</param>
/// <param name="Faults">All that is wrong with it, what was revoked and disabled included.</param>
public sealed record DecodedToken(InspectedToken Token, ImmutableArray<FailedCheck> Faults);
