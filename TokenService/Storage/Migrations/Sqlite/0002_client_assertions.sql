-- jwks is a JWK Set of public keys; jwks_uri says where to fetch one instead.
ALTER TABLE clients ADD COLUMN jwks TEXT;
ALTER TABLE clients ADD COLUMN jwks_uri TEXT;
ALTER TABLE clients ADD COLUMN token_endpoint_auth_signing_alg TEXT;

-- The secret itself, encrypted under the master key and bound to its client and hash; only for client_secret_jwt.
ALTER TABLE client_secrets ADD COLUMN secret BLOB;

-- The primary key is the rule that a client uses a jti once. A row may go when keep_until has passed.
CREATE TABLE used_assertions (
    client_id TEXT NOT NULL,
    jti_hash BLOB NOT NULL,
    keep_until INTEGER NOT NULL,
    PRIMARY KEY (client_id, jti_hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX used_assertions_by_time ON used_assertions (keep_until);

-- One row: the latest keep_until of all rows that are gone. Of an assertion up to there nobody knows whether it was used.
CREATE TABLE used_assertions_horizon (
    keep_until INTEGER NOT NULL
) STRICT;

INSERT INTO used_assertions_horizon (keep_until) VALUES (0);
