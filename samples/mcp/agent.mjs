// An agent without a person: it knows the address of an MCP server, the issuer that it is registered with, and its own key. It calls one tool.
import { readFile } from 'node:fs/promises';
import { buildDiscoveryUrls, discoverOAuthProtectedResourceMetadata } from '@modelcontextprotocol/sdk/client/auth.js';
import { PrivateKeyJwtProvider, StaticPrivateKeyJwtProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const address = process.env.MCP_SERVER ?? 'http://localhost:3000/mcp';
const issuer = process.env.TOKEN_ISSUER ?? 'http://localhost:5080';
const registered = { clientId: process.env.CLIENT_ID ?? 'research-agent', scope: process.env.SCOPE, expectedIssuer: issuer };

// With the token of the platform that it runs on, in Kubernetes for one, it needs no key.
const provider = process.env.CLIENT_TOKEN_FILE
  ? new StaticPrivateKeyJwtProvider({ ...registered, jwtBearerAssertion: (await readFile(process.env.CLIENT_TOKEN_FILE, 'utf8')).trim() })
  : new PrivateKeyJwtProvider({
    ...registered,
    privateKey: await readFile(process.env.CLIENT_KEY ?? 'research-agent.pem', 'utf8'),
    algorithm: process.env.CLIENT_ALG ?? 'RS256',
  });

// The SDK's own discovery refuses an authorization server without an authorization_endpoint, which one without people has no use for
// (RFC 8414 §2). So the agent discovers it, and hands the SDK what it would have found.
provider.discoveryState = async () => {
  const resourceMetadata = await discoverOAuthProtectedResourceMetadata(address);
  if (!resourceMetadata.authorization_servers?.includes(issuer)) {
    throw new Error(`${address} does not take tokens of ${issuer}, but of ${resourceMetadata.authorization_servers}`);
  }

  const response = await fetch(buildDiscoveryUrls(issuer)[0].url, { redirect: 'error' });
  const authorizationServerMetadata = await response.json();
  if (authorizationServerMetadata.issuer !== issuer) {
    throw new Error(`The metadata of ${issuer} is that of ${authorizationServerMetadata.issuer}`);
  }

  return { authorizationServerUrl: issuer, authorizationServerMetadata, resourceMetadata };
};

const [tool = 'search_documents', argument = '{"word":"tokens"}'] = process.argv.slice(2);
const client = new Client({ name: 'research-agent', version: '1.0.0' });
try {
  await client.connect(new StreamableHTTPClientTransport(new URL(address), { authProvider: provider }));
  const result = await client.callTool({ name: tool, arguments: JSON.parse(argument) });
  console.log(result.content.map(part => part.text).join('\n'));
  process.exitCode = result.isError ? 1 : 0;
} catch (error) {
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
} finally {
  await client.close();
}
