-- federation: the rules by which tokens of trusted issuers stand for a client, JSON as in the declarative file; of a spiffe_id the one rule that it is.
ALTER TABLE clients ADD COLUMN federation TEXT;

-- Issuers of workloads' identities. jwks is a JWK Set of public keys; keys_at says where to fetch one instead, a URL or the path of a file; where there
-- is neither, the issuer's metadata says it. The issuer of a SPIFFE trust domain begins with spiffe://.
-- It may be there: what is read back from a dump of before does not take it away.
DROP TABLE IF EXISTS trusted_issuers;
CREATE TABLE trusted_issuers (
    name TEXT NOT NULL PRIMARY KEY,
    issuer TEXT NOT NULL,
    audience TEXT,
    jwks TEXT,
    keys_at TEXT,
    ca_file TEXT,
    bearer_token_file TEXT
) STRICT;
