using System;
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace TokenService.Tests.Support;

/// <summary>A collector: takes what comes by OTLP, over HTTP (protobuf) or gRPC, and reads the parts that tests ask for.</summary>
internal sealed class OtlpReceiver : IAsyncDisposable
{
    private const int GrpcPrefix = 5;

    private readonly KeySetHost _host;
    private readonly bool _grpc;
    private readonly ConcurrentQueue<(string Path, byte[] Body)> _received = new();

    private OtlpReceiver(KeySetHost host, bool grpc) => (_host, _grpc) = (host, grpc);

    /// <summary>What a service is to be told.</summary>
    public (string Name, string Value)[] Variables =>
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", _host.Uri.ToString().TrimEnd('/')), ("OTEL_EXPORTER_OTLP_PROTOCOL", _grpc ? "" : "http/protobuf"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200"), ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];

    /// <summary>All that came, as it came.</summary>
    public IEnumerable<byte[]> Bodies => _received.Select(request => request.Body);

    public IEnumerable<string> Paths => _received.Select(request => request.Path).Distinct();

    /// <summary>The names of the metrics (ExportMetricsServiceRequest: resource_metrics 1, scope_metrics 2, metrics 2, name 1) that have data.</summary>
    public ISet<string> Metrics => Of("/v1/metrics").Where(metric => metric.Any(part => part.Number is 5 or 7 or 9))
        .Select(metric => Text(metric, 1)).ToHashSet(StringComparer.Ordinal);

    /// <summary>The spans (ExportTraceServiceRequest: resource_spans 1, scope_spans 2, spans 2).</summary>
    public IReadOnlyList<Span> Spans => [.. Of("/v1/traces").Select(span => new Span(
        Hex(span, 1),
        Hex(span, 2),
        Hex(span, 4),
        Text(span, 5),
        span.Where(part => part.Number == 9).Select(part => Fields(part.Value)).ToDictionary(
            attribute => Text(attribute, 1), attribute => Value(Fields(attribute.Single(part => part.Number == 2).Value)), StringComparer.Ordinal)))];

    /// <param name="grpc">Whether it takes gRPC and nothing else, which is what a service is not told.</param>
    public static async Task<OtlpReceiver> Start(bool grpc = false)
    {
        var receiver = new OtlpReceiver(await KeySetHost.Start(path: "", protocols: grpc ? HttpProtocols.Http2 : HttpProtocols.Http1), grpc);
        receiver._host.Answer = async http =>
        {
            using var body = new MemoryStream();
            await http.Request.Body.CopyToAsync(body, http.RequestAborted);
            http.Response.ContentType = grpc ? "application/grpc" : "application/x-protobuf";
            receiver._received.Enqueue(grpc ? (PathOf(http.Request.Path), body.ToArray()[GrpcPrefix..]) : (http.Request.Path, body.ToArray()));
            if (grpc)
            {
                // An empty message, and that all is well.
                http.Response.AppendTrailer("grpc-status", "0");
                await http.Response.Body.WriteAsync(new byte[GrpcPrefix], http.RequestAborted);
            }
        };
        return receiver;
    }

    /// <summary>Takes connections and requests from now on, and answers none.</summary>
    public void Hang() => _host.Answer = http => Task.Delay(Timeout.Infinite, http.RequestAborted);

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    // As the same is called over HTTP.
    private static string PathOf(string method) => method switch
    {
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => "/v1/metrics",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => "/v1/traces",
        _ => method,
    };

    private IEnumerable<List<Field>> Of(string path) => _received.Where(request => request.Path == path)
        .SelectMany(request => Inside(Fields(request.Body), 1)).SelectMany(resource => Inside(resource, 2)).SelectMany(scope => Inside(scope, 2));

    private static IEnumerable<List<Field>> Inside(List<Field> message, int number)
        => message.Where(part => part.Number == number).Select(part => Fields(part.Value));

    private static string Text(List<Field> message, int number) => Encoding.UTF8.GetString(message.Find(part => part.Number == number).Value ?? []);

    private static string Hex(List<Field> message, int number) => Convert.ToHexStringLower(message.Find(part => part.Number == number).Value ?? []);

    // AnyValue: string_value 1, bool_value 2, int_value 3.
    private static string Value(List<Field> value) => value[0] is { Number: 1 } text ? Encoding.UTF8.GetString(text.Value) : $"{value[0].Scalar}";

    private static List<Field> Fields(ReadOnlySpan<byte> message)
    {
        var fields = new List<Field>();
        while (!message.IsEmpty)
        {
            var key = Varint(ref message);
            var (number, kind) = ((int)(key >> 3), (int)(key & 7));
            switch (kind)
            {
                case 0:
                    fields.Add(new(number, [], Varint(ref message)));
                    break;
                case 1:
                    fields.Add(new(number, [], BinaryPrimitives.ReadUInt64LittleEndian(message)));
                    message = message[8..];
                    break;
                case 2:
                    var length = (int)Varint(ref message);
                    fields.Add(new(number, message[..length].ToArray(), 0));
                    message = message[length..];
                    break;
                case 5:
                    fields.Add(new(number, [], BinaryPrimitives.ReadUInt32LittleEndian(message)));
                    message = message[4..];
                    break;
                default:
                    throw new InvalidDataException($"There is no field of kind {kind}.");
            }
        }

        return fields;
    }

    private static ulong Varint(ref ReadOnlySpan<byte> message)
    {
        ulong value = 0;
        for (var shift = 0; ; shift += 7)
        {
            var next = message[0];
            message = message[1..];
            value |= (ulong)(next & 0x7f) << shift;
            if (next < 0x80)
            {
                return value;
            }
        }
    }

    public sealed record Span(string TraceId, string SpanId, string Parent, string Name, IReadOnlyDictionary<string, string> Attributes);

    private readonly record struct Field(int Number, byte[] Value, ulong Scalar);
}
