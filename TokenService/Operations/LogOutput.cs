using System;
using System.Linq;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace TokenService.Operations;

/// <summary>Where the log goes: standard output, one JSON object a line, or plain lines in Development.</summary>
public static class LogOutput
{
    // None, not Critical, for Hosting.Diagnostics: else it makes an activity for each request.
    private static readonly (string Category, LogLevel Least)[] s_framework =
    [
        ("Microsoft.AspNetCore", LogLevel.Warning),
        ("Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.None),
        ("Microsoft.AspNetCore.Server.Kestrel", LogLevel.Critical),
        ("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.Critical),
        ("Microsoft.Extensions.Diagnostics.HealthChecks", LogLevel.Critical),
        ("Microsoft.Hosting.Lifetime", LogLevel.Warning),
    ];

    /// <summary>Sets it up.</summary>
    /// <remarks>
    /// The framework logs requests with their path and query, and malformed headers as they came: each may hold a secret. So whatever level
    /// the settings name, and for however narrow a category, it speaks up from warnings on, and the web server not about what a caller sent.
    /// What keeps the service from starting, the program says itself, in one line.
    /// </remarks>
    /// <param name="logging">What is set up.</param>
    /// <param name="development">Whether this is the Development environment.</param>
    public static void UseConsole(this ILoggingBuilder logging, bool development)
    {
        logging.ClearProviders();
        _ = development
            ? logging.AddSimpleConsole(console => console.SingleLine = true)
            : logging.AddJsonConsole(console => console.UseUtcTimestamp = true);
        logging.Services.PostConfigure<LoggerFilterOptions>(options =>
        {
            // Of all rules for a category, the one with the longest name is gone by, and the settings may name any category, also as A*Z.
            for (var i = 0; i < options.Rules.Count; i++)
            {
                options.Rules[i] = Bounded(options.Rules[i]);
            }

            foreach (var (category, least) in s_framework)
            {
                options.Rules.Add(new LoggerFilterRule(typeof(ConsoleLoggerProvider).FullName, category, least, filter: null));
            }
        });

        // A terminal that does not keep up loses lines; it does not hold up requests.
        logging.Services.Configure<ConsoleLoggerOptions>(console => console.QueueFullMode = ConsoleLoggerQueueFullMode.DropWrite);
    }

    // One for no category gives way to those that are added for the framework's.
    private static LoggerFilterRule Bounded(LoggerFilterRule rule) => rule.CategoryName is null ? rule : new(
        rule.ProviderName,
        rule.CategoryName,
        rule.LogLevel,
        (provider, category, level) => level >= Least(category) && rule.Filter?.Invoke(provider, category, level) != false);

    // The longest name comes last among those that one category begins with.
    private static LogLevel Least(string? category)
        => s_framework.LastOrDefault(known => category?.StartsWith(known.Category, StringComparison.OrdinalIgnoreCase) == true).Least;
}
