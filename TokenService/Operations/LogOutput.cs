using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace TokenService.Operations;

/// <summary>Where the log goes: standard output, one JSON object a line, or plain lines in Development.</summary>
public static class LogOutput
{
    /// <summary>Sets it up.</summary>
    /// <remarks>
    /// The framework logs requests with their query, and malformed headers as they came: either may hold a secret. So whatever level
    /// the settings name, it speaks up from warnings on, and the web server not about what a caller sent. None, not Critical, for
    /// Hosting.Diagnostics: else it makes an activity for each request. What keeps the service from starting, the program says itself, in one line.
    /// </remarks>
    /// <param name="logging">What is set up.</param>
    /// <param name="development">Whether this is the Development environment.</param>
    public static void UseConsole(this ILoggingBuilder logging, bool development)
    {
        logging.ClearProviders();
        _ = development
            ? logging.AddSimpleConsole(console => console.SingleLine = true)
            : logging.AddJsonConsole(console => console.UseUtcTimestamp = true);
        logging
            .AddFilter<ConsoleLoggerProvider>("Microsoft.AspNetCore", LogLevel.Warning)
            .AddFilter<ConsoleLoggerProvider>("Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.None)
            .AddFilter<ConsoleLoggerProvider>("Microsoft.AspNetCore.Server.Kestrel", LogLevel.Critical)
            .AddFilter<ConsoleLoggerProvider>("Microsoft.AspNetCore.Server.Kestrel.BadRequests", LogLevel.Critical)
            .AddFilter<ConsoleLoggerProvider>("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.Critical)
            .AddFilter<ConsoleLoggerProvider>("Microsoft.Extensions.Diagnostics.HealthChecks", LogLevel.Critical)
            .AddFilter<ConsoleLoggerProvider>("Microsoft.Hosting.Lifetime", LogLevel.Warning);

        // A terminal that does not keep up loses lines; it does not hold up requests.
        logging.Services.Configure<ConsoleLoggerOptions>(console => console.QueueFullMode = ConsoleLoggerQueueFullMode.DropWrite);
    }
}
