// A client and a resource server made of other people's libraries: node client.mjs MODE ARGUMENT...
// One line of JSON: on standard output what the libraries gave; on standard error, with exit code 1, what they objected to.
import { webcrypto } from 'node:crypto';

// Node 18 has this, but not as a global, and the libraries look for it there: so the libraries come after.
globalThis.crypto ??= webcrypto;
const oauth = await import('oauth4webapi');
const jose = await import('jose');

// The tests speak http on the loopback, which oauth4webapi refuses unless told.
const insecure = { [oauth.allowInsecureRequests]: true };

const authentications = { client_secret_basic: oauth.ClientSecretBasic, client_secret_post: oauth.ClientSecretPost };

async function discover(issuer, algorithm) {
  const url = new URL(issuer);
  return oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm, ...insecure }));
}

async function getToken(server, authentication, id, secret) {
  const client = { client_id: id };
  const response = await oauth.clientCredentialsGrantRequest(server, client, authentications[authentication](secret), {}, insecure);
  return oauth.processClientCredentialsResponse(server, client, response);
}

const modes = {
  discover,

  // As a resource server that trusts nothing but the issuer's published keys.
  async jose(issuer, authentication, id, secret, audience, algorithm) {
    const server = await discover(issuer, 'oauth2');
    const response = await getToken(server, authentication, id, secret);
    const { protectedHeader, payload } = await jose.jwtVerify(
      response.access_token,
      jose.createRemoteJWKSet(new URL(server.jwks_uri)),
      { issuer, audience, typ: 'at+jwt', algorithms: [algorithm], requiredClaims: ['sub', 'client_id', 'exp', 'iat', 'jti'] },
    );
    return { response, header: protectedHeader, claims: payload };
  },

  // The same, by the checks of RFC 9068 that oauth4webapi has built in.
  async rfc9068(issuer, authentication, id, secret, audience, algorithm) {
    const server = await discover(issuer, 'oauth2');
    const { access_token: token } = await getToken(server, authentication, id, secret);
    const request = new Request(audience, { headers: { authorization: `Bearer ${token}` } });
    return oauth.validateJwtAccessToken(server, request, audience, { signingAlgorithms: [algorithm], ...insecure });
  },
};

const [mode, ...args] = process.argv.slice(2);
try {
  console.log(JSON.stringify(await modes[mode](...args)));
} catch (error) {
  // Where the answer carries a challenge, oauth4webapi tells of that alone and leaves the body unread.
  const challenged = error instanceof oauth.WWWAuthenticateChallengeError;
  const told = challenged ? await error.response.json() : error.cause;
  console.error(JSON.stringify({
    name: error.name,
    code: error.code,
    message: error.message,
    status: error.status,
    challenges: challenged ? error.cause : undefined,
    error: told?.error,
    claim: told?.claim,
  }));
  process.exitCode = 1;
}
