using System;
using System.IO;
using System.Net.Sockets;
using System.Text;
using System.Threading.Tasks;

namespace TokenService.Tests.Support;

/// <summary>Sends bytes that no HTTP client would, and reads what comes back until the connection ends.</summary>
internal static class RawHttp
{
    public static Task<string> Send(Uri url, string request) => Send(url, request, [], TimeSpan.Zero);

    /// <summary>Sends some of it in drips.</summary>
    public static async Task<string> Send(Uri url, string request, string[] drips, TimeSpan pause)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(url.Host, url.Port);
        var stream = client.GetStream();
        await stream.WriteAsync(Encoding.Latin1.GetBytes(request));
        foreach (var drip in drips)
        {
            await Task.Delay(pause);
            await stream.WriteAsync(Encoding.Latin1.GetBytes(drip));
        }

        using var reader = new StreamReader(stream, Encoding.Latin1);
        return await reader.ReadToEndAsync().WaitAsync(TimeSpan.FromSeconds(30));
    }
}
