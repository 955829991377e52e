"""A client made of Authlib as Debian packages it:

    client.py METHOD TOKEN_ENDPOINT CLIENT_ID KEY ALG [LIFETIME [AUDIENCE]]

KEY is the secret, or the private key in PEM. Left to itself, Authlib writes the token endpoint as aud, and an exp an hour ahead.
One line of JSON: on standard output the answer; on standard error, with exit code 1, what Authlib read out of a refusal.
"""
import json
import sys
import time

from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import ClientSecretJWT, PrivateKeyJWT

METHODS = {method.name: method for method in (ClientSecretJWT, PrivateKeyJWT)}


def get_token(method, endpoint, client_id, key, alg, lifetime=None, audience=None):
    # Authlib puts the first jti into the claims it was given and leaves it there, so a session with claims is good for one token.
    claims = lifetime and {'exp': int(time.time()) + int(lifetime)}
    session = OAuth2Session(client_id, key, token_endpoint_auth_method=method)
    # What Authlib calls token_endpoint here goes into aud and nowhere else; the request goes where fetch_token says.
    session.register_client_auth_method(METHODS[method](token_endpoint=audience, claims=claims, alg=alg))
    return session.fetch_token(endpoint, grant_type='client_credentials')


try:
    print(json.dumps(get_token(*sys.argv[1:])))
except OAuthError as refusal:
    print(json.dumps({'error': refusal.error, 'error_description': refusal.description}), file=sys.stderr)
    sys.exit(1)
