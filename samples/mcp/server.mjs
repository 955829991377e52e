// An MCP server that takes tokens of TokenService: two tools, each behind a scope of its own. Its address is the resource that the tokens are for.
import { InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { getOAuthProtectedResourceMetadataUrl } from '@modelcontextprotocol/sdk/server/auth/router.js';
import { createMcpExpressApp } from '@modelcontextprotocol/sdk/server/express.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import * as z from 'zod';

const resource = process.env.MCP_SERVER ?? 'http://localhost:3000/mcp';
const issuer = process.env.TOKEN_ISSUER ?? 'http://localhost:5080';

const documents = ['Keys and How to Change Them', 'Tokens for Machines'];
const tools = {
  search_documents: {
    scope: 'documents.search',
    description: 'Documents with a word in their title',
    inputSchema: { word: z.string() },
    run: ({ word }) => documents.filter(title => title.toLowerCase().includes(word.toLowerCase())).join('\n'),
  },
  publish_document: {
    scope: 'documents.publish',
    description: 'Adds a document',
    inputSchema: { title: z.string() },
    run: ({ title }) => `${documents.push(title)} documents`,
  },
};

// RFC 9728: who has only the address of this server finds here where its tokens come from.
const metadataUrl = getOAuthProtectedResourceMetadataUrl(new URL(resource));
const metadata = {
  resource,
  authorization_servers: [issuer],
  scopes_supported: Object.values(tools).map(tool => tool.scope),
  bearer_methods_supported: ['header'],
};

// jose fetches the keys when a token first needs them, keeps them, and fetches them again for a key that it does not know.
const keys = createRemoteJWKSet(new URL(`${issuer.replace(/\/$/, '')}/.well-known/jwks.json`));

// RFC 9068 §4: an access token and nothing else, of this issuer, for this resource.
async function verifyAccessToken(token) {
  try {
    const { payload } = await jwtVerify(token, keys, {
      issuer,
      audience: resource,
      typ: 'at+jwt',
      algorithms: ['RS256', 'PS256', 'ES256'],
      requiredClaims: ['sub', 'client_id', 'exp'],
    });
    return { token, clientId: payload.client_id, scopes: payload.scope?.split(' ') ?? [], expiresAt: payload.exp, resource: new URL(resource) };
  } catch (error) {
    // Keys that cannot be fetched are not the caller's fault: that is answered with 500.
    throw /^ERR_(JWT|JWS|JOSE_ALG|JOSE_NOT|JWKS_NO_MATCHING)/.test(error.code) ? new InvalidTokenError('The token is not a live one for this server') : error;
  }
}

// What a request takes: a good token, and for each tool that it calls the scope of that.
function authorize(request, response, next) {
  const calls = [request.body].flat().filter(message => message?.method === 'tools/call');
  const requiredScopes = calls.map(call => tools[call.params?.name]?.scope).filter(scope => scope);
  return requireBearerAuth({ verifier: { verifyAccessToken }, requiredScopes, resourceMetadataUrl: metadataUrl })(request, response, next);
}

// One for each request: this server keeps nothing between them.
async function serve(request, response) {
  const server = new McpServer({ name: 'documents', version: '1.0.0' });
  for (const [name, { description, inputSchema, run }] of Object.entries(tools)) {
    server.registerTool(name, { description, inputSchema }, async (input, { authInfo }) => {
      console.log(`${authInfo.clientId} calls ${name}`);
      return { content: [{ type: 'text', text: run(input) }] };
    });
  }

  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  response.on('close', () => server.close());
  await server.connect(transport);
  await transport.handleRequest(request, response, request.body);
}

// On loopback, where a proxy with TLS reaches it; the proxy passes on the Host of the resource.
const { hostname, pathname, port } = new URL(resource);
const app = createMcpExpressApp({ allowedHosts: [hostname] });
app.get(new URL(metadataUrl).pathname, (_, response) => response.json(metadata));
app.post(pathname, authorize, serve);
app.all(pathname, authorize, (_, response) => response.status(405).set('Allow', 'POST').end());
app.listen(Number(process.env.PORT ?? (port || 3000)), hostname === 'localhost' ? 'localhost' : '127.0.0.1', () => console.log(`MCP server for ${resource}`));
