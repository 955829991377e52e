using System;

namespace TokenService.Tests.Support;

/// <summary>Load and fault tests are short in CI, and long where <c>TOKENSERVICE_LONG</c> is 1.</summary>
internal static class LongForm
{
    public static bool IsOn => Environment.GetEnvironmentVariable("TOKENSERVICE_LONG") == "1";

    public static int Of(int inShort, int inLong) => IsOn ? inLong : inShort;
}
