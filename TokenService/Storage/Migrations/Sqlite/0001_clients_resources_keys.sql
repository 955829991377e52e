-- Times are milliseconds since 1970, UTC. origin: 0 command, 1 declarative file.

CREATE TABLE resources (
    resource TEXT NOT NULL PRIMARY KEY,
    name TEXT,
    origin INTEGER NOT NULL
) STRICT;

-- The primary key is the rule that a scope belongs to exactly one resource.
CREATE TABLE scopes (
    name TEXT NOT NULL PRIMARY KEY,
    resource TEXT NOT NULL REFERENCES resources (resource),
    position INTEGER NOT NULL,
    description TEXT
) STRICT;

CREATE INDEX scopes_of_resource ON scopes (resource);

-- grant_types and scope are names separated by single spaces.
CREATE TABLE clients (
    client_id TEXT NOT NULL PRIMARY KEY,
    client_name TEXT,
    token_endpoint_auth_method TEXT NOT NULL,
    grant_types TEXT NOT NULL,
    scope TEXT NOT NULL,
    access_token_lifetime INTEGER,
    disabled INTEGER NOT NULL,
    origin INTEGER NOT NULL
) STRICT;

CREATE TABLE client_secrets (
    client_id TEXT NOT NULL REFERENCES clients (client_id),
    secret_hash BLOB NOT NULL,
    expires_at INTEGER,
    origin INTEGER NOT NULL,
    PRIMARY KEY (client_id, secret_hash)
) STRICT;

-- private_key is encrypted under the master key and bound to its kid.
CREATE TABLE signing_keys (
    kid TEXT NOT NULL PRIMARY KEY,
    algorithm TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    private_key BLOB NOT NULL
) STRICT;

-- One row, counted up by every change to the tables above: a running service sees by it that it must read again.
CREATE TABLE store_version (
    version INTEGER NOT NULL
) STRICT;

INSERT INTO store_version (version) VALUES (1);
