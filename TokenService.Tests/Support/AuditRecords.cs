using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Threading.Tasks;

namespace TokenService.Tests.Support;

/// <summary>The records of an audit log.</summary>
internal static class AuditRecords
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    /// <summary>Waits until it has a record of this kind: records are written a moment after the answer.</summary>
    public static async Task<JsonElement> Find(string file, string name, Func<JsonElement, bool>? which = null)
    {
        var since = Stopwatch.StartNew();
        while (true)
        {
            var found = Read(file).Where(record => record.GetProperty("event").GetString() == name && which?.Invoke(record) != false).ToList();
            if (found.Count > 0)
            {
                return found[^1];
            }

            if (since.Elapsed > s_patience)
            {
                throw new TimeoutException($"There is no {name} in {file}:\n{(File.Exists(file) ? File.ReadAllText(file) : "no file")}");
            }

            await Task.Delay(20);
        }
    }

    /// <summary>All that are whole.</summary>
    public static IReadOnlyList<JsonElement> Read(string file)
    {
        if (!File.Exists(file))
        {
            return [];
        }

        using var reader = new StreamReader(new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));
        var text = reader.ReadToEnd();
        return [.. text[..(text.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement)];
    }

    /// <summary>A member of a record that is a text.</summary>
    public static string? Text(this JsonElement record, string member) => record.TryGetProperty(member, out var value) ? value.GetString() : null;
}
