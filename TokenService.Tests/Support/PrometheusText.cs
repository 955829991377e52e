using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Net.Http;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using FluentAssertions;

namespace TokenService.Tests.Support;

/// <summary>What a service answers to Prometheus, read by the rules of the text format (version 0.0.4), each of which is checked.</summary>
internal sealed partial record PrometheusText(string Text, IReadOnlyDictionary<string, string> Types, IReadOnlyDictionary<string, double> Samples)
{
    /// <summary>The names in samples, and of what is measured in parts.</summary>
    public IEnumerable<string> Names => Types.Keys.Concat(Samples.Keys.Select(series => series.Split('{')[0])).Distinct();

    public IEnumerable<string> Labels => Samples.Keys.SelectMany(series => Label().Matches(series)).Select(match => match.Groups[1].Value).Distinct();

    public static async Task<PrometheusText> Ask(HttpClient http, Uri url)
    {
        using var response = await http.GetAsync(url);
        response.StatusCode.Should().Be(System.Net.HttpStatusCode.OK);
        response.Content.Headers.ContentType!.MediaType.Should().Be("text/plain");
        return Read(await response.Content.ReadAsStringAsync());
    }

    /// <summary>The labels of what is measured under a name, but for those that the exporter adds to everything and to buckets.</summary>
    public IEnumerable<string> LabelsOf(string name) => Samples.Keys
        .Where(series => series.Split('{')[0] is var sample && (sample == name || (Types.GetValueOrDefault(name) == "histogram" && Part().Replace(sample, "") == name)))
        .SelectMany(series => Label().Matches(series)).Select(match => match.Groups[1].Value)
        .Where(label => label != "le" && !label.StartsWith("otel_scope_", StringComparison.Ordinal)).Distinct();

    /// <summary>The sum of a metric over all series with these labels.</summary>
    /// <exception cref="KeyNotFoundException">There is none.</exception>
    public double Sum(string name, params string[] labels)
        => Series(name, labels) is { Count: > 0 } series ? series.Sum() : throw new KeyNotFoundException($"There is no {name} with {string.Join(", ", labels)} in:\n{Text}");

    /// <summary>How often something happened: the same of a counter, which is not there before it counts.</summary>
    public double Count(string name, params string[] labels) => Series(name, labels).Sum();

    private List<double> Series(string name, string[] labels) => [.. Samples
        .Where(sample => sample.Key.Split('{')[0] == name && labels.All(label => sample.Key.Contains(label, StringComparison.Ordinal)))
        .Select(sample => sample.Value)];

    private static PrometheusText Read(string text)
    {
        text.Should().EndWith("\n").And.NotContain("\r");
        var types = new Dictionary<string, string>(StringComparer.Ordinal);
        var samples = new Dictionary<string, double>(StringComparer.Ordinal);
        foreach (var line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.StartsWith('#'))
            {
                line.Should().MatchRegex("^# (EOF|(HELP|UNIT) [a-z_]+ .*|TYPE [a-z_]+ (counter|gauge|histogram|info))$");
                if (line.Split(' ') is ["#", "TYPE", var name, var type])
                {
                    types.TryAdd(name, type).Should().BeTrue($"{name} has one type");
                }

                continue;
            }

            var sample = Sample().Match(line);
            sample.Success.Should().BeTrue($"this is no sample: {line}");
            var (metric, series) = (sample.Groups["name"].Value, sample.Groups["name"].Value + sample.Groups["labels"].Value);
            types.Should().ContainKey(Part().Replace(metric, "") is var whole && types.GetValueOrDefault(whole) == "histogram" ? whole : metric, "the type comes first");
            samples.TryAdd(series, double.Parse(sample.Groups["value"].Value.Replace("+Inf", "Infinity", StringComparison.Ordinal), CultureInfo.InvariantCulture))
                .Should().BeTrue($"{series} is there once");
        }

        // The buckets of a histogram count up, and the last is the count.
        foreach (var buckets in samples.Where(sample => sample.Key.Contains("_bucket{", StringComparison.Ordinal)).GroupBy(sample => Le().Replace(sample.Key, "")))
        {
            buckets.Select(bucket => bucket.Value).Should().BeInAscendingOrder(buckets.Key);
            buckets.Last().Key.Should().Contain("le=\"+Inf\"");
        }

        return new(text, types, samples);
    }

    [GeneratedRegex("""^(?<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?<labels>\{([a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\[\\"n])*",?)*\})? (?<value>[+-]?(Inf|NaN|[0-9.eE+-]+))( [0-9]+)?$""")]
    private static partial Regex Sample();

    [GeneratedRegex("_(bucket|sum|count)$")]
    private static partial Regex Part();

    [GeneratedRegex(",?le=\"[^\"]*\"")]
    private static partial Regex Le();

    [GeneratedRegex("[{,]([a-zA-Z_][a-zA-Z0-9_]*)=\"")]
    private static partial Regex Label();
}
