// node-oidc-provider as its documentation sets it up for client credentials and JWT access tokens, with its own adapter in memory.
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';

const { PORT, ALGORITHM, KEY, CLIENTS, SIGNER } = process.env;
const issuer = `http://127.0.0.1:${PORT}`;
const resource = 'https://api.example.com';
const scope = 'read write';

const signingKey = { ...createPrivateKey(readFileSync(KEY)).export({ format: 'jwk' }), kid: 'bench', use: 'sig', alg: ALGORITHM };
const forTokensOnly = { grant_types: ['client_credentials'], redirect_uris: [], response_types: [], scope };
const clients = JSON.parse(readFileSync(CLIENTS)).map((client) => ({
  ...client, ...forTokensOnly, token_endpoint_auth_method: 'client_secret_basic',
}));
clients.push({
  client_id: 'signer', ...forTokensOnly, token_endpoint_auth_method: 'private_key_jwt', jwks: JSON.parse(readFileSync(SIGNER)),
});

const provider = new Provider(issuer, {
  clients,
  // ID tokens, which nobody asks for here, are by default RS256, and a key is wanted for that.
  clientDefaults: { id_token_signed_response_alg: ALGORITHM },
  clientAuthMethods: ['client_secret_basic', 'private_key_jwt'],
  jwks: { keys: [signingKey] },
  scopes: ['read', 'write'],
  ttl: { ClientCredentials: 3600 },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      getResourceServerInfo: () => ({
        scope, audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: 3600, jwt: { sign: { alg: ALGORITHM } },
      }),
    },
  },
  routes: { token: '/oauth2/token' },
});
provider.on('server_error', (_, fault) => console.error(fault));
provider.listen(PORT, '127.0.0.1');
