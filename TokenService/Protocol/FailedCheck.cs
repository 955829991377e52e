namespace TokenService.Protocol;

/// <summary>
/// A check that a request did not pass, in the three parts that an operator asks for: which, what was expected, what came. All are
/// printable and none is ever a secret, an assertion or a token.
/// </summary>
/// <param name="Name">A short name that stays: that of the parameter, claim, header or metadata member that was checked.</param>
/// <param name="Expected">
/// What would have passed. Where the fault follows from what was sent alone, the caller reads it too: then it is printable ASCII without
/// quotation marks and backslashes, and repeats nothing that was sent.
/// </param>
/// <param name="Came">What was sent instead, shortened, for the operator alone.</param>
public sealed record FailedCheck(string Name, string Expected, string Came);
