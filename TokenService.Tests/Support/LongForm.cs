using System;

namespace TokenService.Tests.Support;

/// <summary>Whether fault and load tests run in their long form: <c>TOKENSERVICE_LONG=1</c>.</summary>
internal static class LongForm
{
    public static bool IsOn => Environment.GetEnvironmentVariable("TOKENSERVICE_LONG") == "1";

    public static int Of(int inShort, int inLong) => IsOn ? inLong : inShort;
}
