-- The schema as it is on SQLite after 0006: from here on a number means the same on both. What is said there of tables and columns holds here.
-- Times are milliseconds since 1970, UTC. origin: 0 command, 1 declarative file. Names are compared byte by byte, as in SQLite.

CREATE TABLE resources (
    resource TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT,
    origin BIGINT NOT NULL
);

-- The primary key is the rule that a scope belongs to exactly one resource.
CREATE TABLE scopes (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    resource TEXT COLLATE "C" NOT NULL REFERENCES resources (resource),
    position BIGINT NOT NULL,
    description TEXT
);

CREATE INDEX scopes_of_resource ON scopes (resource);

CREATE TABLE clients (
    client_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    client_name TEXT,
    token_endpoint_auth_method TEXT NOT NULL,
    grant_types TEXT NOT NULL,
    scope TEXT NOT NULL,
    access_token_lifetime BIGINT,
    disabled BIGINT NOT NULL,
    origin BIGINT NOT NULL,
    jwks TEXT,
    jwks_uri TEXT,
    token_endpoint_auth_signing_alg TEXT,
    introspection TEXT,
    client_id_issued_at BIGINT
);

CREATE TABLE client_secrets (
    client_id TEXT COLLATE "C" NOT NULL REFERENCES clients (client_id),
    secret_hash BYTEA NOT NULL,
    expires_at BIGINT,
    origin BIGINT NOT NULL,
    secret BYTEA,
    overlap_ends_at BIGINT,
    PRIMARY KEY (client_id, secret_hash)
);

CREATE TABLE signing_keys (
    kid TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    algorithm TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    private_key BYTEA NOT NULL,
    signs_from BIGINT
);

CREATE TABLE store_version (
    version BIGINT NOT NULL
);

INSERT INTO store_version (version) VALUES (1);

-- The primary key is the rule that a client uses a jti once, on whichever replica.
CREATE TABLE used_assertions (
    client_id TEXT COLLATE "C" NOT NULL,
    jti_hash BYTEA NOT NULL,
    keep_until BIGINT NOT NULL,
    PRIMARY KEY (client_id, jti_hash)
);

CREATE INDEX used_assertions_by_time ON used_assertions (keep_until);

CREATE TABLE used_assertions_horizon (
    keep_until BIGINT NOT NULL
);

INSERT INTO used_assertions_horizon (keep_until) VALUES (0);

-- A sequence does not give out its numbers in the order of commits: those who insert take turns.
CREATE TABLE revoked_tokens (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    jti TEXT COLLATE "C" NOT NULL UNIQUE,
    expires_at BIGINT NOT NULL
);

CREATE INDEX revoked_tokens_by_time ON revoked_tokens (expires_at);

CREATE TABLE revoked_tokens_horizon (
    expires_at BIGINT NOT NULL
);

INSERT INTO revoked_tokens_horizon (expires_at) VALUES (0);

CREATE TABLE credential_uses (
    client_id TEXT COLLATE "C" NOT NULL,
    credential TEXT COLLATE "C" NOT NULL,
    last_used_at BIGINT NOT NULL,
    PRIMARY KEY (client_id, credential)
);

CREATE TABLE refusals (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    trace_id TEXT COLLATE "C" NOT NULL,
    refused_at BIGINT NOT NULL,
    endpoint TEXT NOT NULL,
    address TEXT NOT NULL,
    client_id TEXT,
    error TEXT NOT NULL,
    failed_check TEXT NOT NULL,
    expected TEXT NOT NULL,
    came TEXT NOT NULL
);

CREATE INDEX refusals_by_trace_id ON refusals (trace_id);
