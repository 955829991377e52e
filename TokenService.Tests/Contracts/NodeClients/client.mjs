// A client and a resource server made of other people's libraries: node client.mjs MODE ARGUMENT...
// One line of JSON: on standard output what the libraries gave; on standard error, with exit code 1, what they objected to.
import { webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import https from 'node:https';

// Node 18 has this, but not as a global, and the libraries look for it there: so the libraries come after.
globalThis.crypto ??= webcrypto;
const oauth = await import('oauth4webapi');
const openid = await import('openid-client');
const jose = await import('jose');

// The tests speak http on the loopback, which oauth4webapi refuses unless told.
const insecure = { [oauth.allowInsecureRequests]: true };

// Both libraries have all of these under the same names. A private key comes as a JWK that names its kid and alg.
const authentications = {
  client_secret_basic: (library, secret) => library.ClientSecretBasic(secret),
  client_secret_post: (library, secret) => library.ClientSecretPost(secret),
  client_secret_jwt: (library, secret) => library.ClientSecretJwt(secret),
  async private_key_jwt(library, secret) {
    const jwk = JSON.parse(secret);
    return library.PrivateKeyJwt({ key: await jose.importJWK(jwk), kid: jwk.kid });
  },
};

async function discover(issuer, algorithm) {
  const url = new URL(issuer);
  return oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm, ...insecure }));
}

async function getToken(server, authentication, id, secret) {
  const client = { client_id: id };
  const proof = await authentications[authentication](oauth, secret);
  const response = await oauth.clientCredentialsGrantRequest(server, client, proof, {}, insecure);
  return oauth.processClientCredentialsResponse(server, client, response);
}

// As a resource server that trusts nothing but the issuer's published keys.
async function verify(response, jwksUri, issuer, audience, algorithm) {
  const { protectedHeader, payload } = await jose.jwtVerify(
    response.access_token,
    jose.createRemoteJWKSet(new URL(jwksUri)),
    { issuer, audience, typ: 'at+jwt', algorithms: [algorithm], requiredClaims: ['sub', 'client_id', 'exp', 'iat', 'jti'] },
  );
  return { response, header: protectedHeader, claims: payload };
}

// What fetch is with a certificate of the client: Node's own takes none.
function fetchOver(tls, url, { method, headers, body }) {
  return new Promise((resolve, reject) => {
    const request = https.request(url, { method, headers, ...tls }, (answer) => {
      const chunks = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.on('end', () => resolve(new Response(Buffer.concat(chunks), { status: answer.statusCode, headers: answer.headers })));
    });
    request.on('error', reject);
    request.end(body?.toString());
  });
}

const modes = {
  discover,

  async jose(issuer, authentication, id, secret, audience, algorithm) {
    const server = await discover(issuer, 'oauth2');
    const response = await getToken(server, authentication, id, secret);
    return verify(response, server.jwks_uri, issuer, audience, algorithm);
  },

  // The same with openid-client, which finds everything out itself.
  async openid(issuer, authentication, id, secret, audience, algorithm) {
    const proof = await authentications[authentication](openid, secret);
    const config = await openid.discovery(new URL(issuer), id, undefined, proof, { execute: [openid.allowInsecureRequests] });
    const response = await openid.clientCredentialsGrant(config);
    return verify(response, config.serverMetadata().jwks_uri, issuer, audience, algorithm);
  },

  // As a resource server that asks whether a token is live (RFC 7662).
  async introspect(issuer, authentication, id, secret, token) {
    const server = await discover(issuer, 'oauth2');
    const client = { client_id: id };
    const proof = await authentications[authentication](oauth, secret);
    const response = await oauth.introspectionRequest(server, client, proof, token, insecure);
    return oauth.processIntrospectionResponse(server, client, response);
  },

  // As a client that takes its token back (RFC 7009). The library gives nothing where all is well.
  async revoke(issuer, authentication, id, secret, token) {
    const server = await discover(issuer, 'oauth2');
    const proof = await authentications[authentication](oauth, secret);
    const response = await oauth.revocationRequest(server, { client_id: id }, proof, token, insecure);
    return { given: await oauth.processRevocationResponse(response) ?? null };
  },

  // As a client that has somebody else's token, and makes a narrower one of it (RFC 8693).
  async exchange(issuer, authentication, id, secret, token, resource, algorithm) {
    const server = await discover(issuer, 'oauth2');
    const client = { client_id: id };
    const proof = await authentications[authentication](oauth, secret);
    const response = await oauth.genericTokenEndpointRequest(server, client, proof, 'urn:ietf:params:oauth:grant-type:token-exchange', {
      subject_token: token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      resource,
    }, insecure);
    return verify(await oauth.processGenericTokenEndpointResponse(server, client, response), server.jwks_uri, issuer, resource, algorithm);
  },

  // In a TLS connection with a certificate (RFC 8705), at the aliases of the metadata.
  async mtls(issuer, id, certificate, key, authority) {
    const tls = { cert: readFileSync(certificate), key: readFileSync(key), ca: readFileSync(authority) };
    const connected = { [oauth.customFetch]: (url, options) => fetchOver(tls, url, options) };
    const url = new URL(issuer);
    const server = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...connected }));
    const client = { client_id: id, use_mtls_endpoint_aliases: true };
    const response = await oauth.clientCredentialsGrantRequest(server, client, oauth.TlsClientAuth(), {}, connected);
    const { access_token: token } = await oauth.processClientCredentialsResponse(server, client, response);
    return jose.decodeJwt(token);
  },

  // As a client whose tokens are bound to a key that it makes (RFC 9449): the first try learns the nonce.
  async dpop(issuer, authentication, id, secret, audience, algorithm, keyAlgorithm) {
    const server = await discover(issuer, 'oauth2');
    const client = { client_id: id };
    const proof = await authentications[authentication](oauth, secret);
    const keyPair = await oauth.generateKeyPair(keyAlgorithm, { extractable: true });
    const DPoP = oauth.DPoP(client, keyPair);
    const ask = async () => oauth.processClientCredentialsResponse(
      server, client, await oauth.clientCredentialsGrantRequest(server, client, proof, {}, { DPoP, ...insecure }));
    let challenged = false;
    const response = await ask().catch((error) => {
      challenged = oauth.isDPoPNonceError(error);
      if (!challenged) throw error;
      return ask();
    });
    const thumbprint = await jose.calculateJwkThumbprint(await jose.exportJWK(keyPair.publicKey));
    return { challenged, thumbprint, again: (await ask()).token_type, ...await verify(response, server.jwks_uri, issuer, audience, algorithm) };
  },

  // By the checks of RFC 9068 that oauth4webapi has built in.
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
  // Where the answer carries a challenge, oauth4webapi tells of that alone and leaves the body unread; openid-client hands that on.
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
