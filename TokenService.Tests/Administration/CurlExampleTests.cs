using System.Text;
using FluentAssertions;
using TokenService.Administration;
using Xunit;

namespace TokenService.Tests.Administration;

public sealed class CurlExampleTests
{
    [Theory]
    [InlineData(
        """{ "client_id": "job", "client_secret": "s3cret", "scope": "s" }""",
        "curl -u 'job:s3cret' -d grant_type=client_credentials http://localhost:1/oauth2/token")]
    [InlineData(
        """{ "client_id": "urn:job", "client_secret": "it's + %", "scope": "s" }""",
        "curl -u 'urn%3Ajob:it%27s%20%2B%20%25' -d grant_type=client_credentials http://localhost:1/oauth2/token")]
    [InlineData(
        """{ "client_id": "job", "client_secret": "it's", "scope": "s", "token_endpoint_auth_method": "client_secret_post" }""",
        @"curl --data-urlencode 'client_id=job' --data-urlencode 'client_secret=it'\''s' -d grant_type=client_credentials http://localhost:1/oauth2/token")]
    [InlineData("""{ "client_id": "job", "client_secret": "s", "grant_types": [] }""", null)]
    [InlineData("""{ "client_id": "job", "client_secret": "s", "scope": "s", "grant_types": ["urn:ietf:params:oauth:grant-type:token-exchange"] }""", null)]
    [InlineData("""{ "client_id": "job", "client_secret": "s", "scope": "s", "token_endpoint_auth_method": "client_secret_jwt" }""", null)]
    [InlineData("""{ "client_id": "job", "client_secret_hash": "sha256:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", "scope": "s" }""", null)]
    public void Shows_the_first_client_that_can_be_shown(string client, string? line)
    {
        var file = DeclarativeFile.Parse(Encoding.UTF8.GetBytes($$"""{ "clients": [ {{client}} ] }"""), "clients.json", development: true);

        CurlExample.For(file, "http://localhost:1").Should().Be(line);
    }
}
