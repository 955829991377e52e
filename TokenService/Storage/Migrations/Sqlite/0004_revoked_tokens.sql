-- Whose tokens the client may introspect: NULL nobody's, * those for any resource, or URIs of resources separated by single spaces.
ALTER TABLE clients ADD COLUMN introspection TEXT;

-- The id only grows, also past rows that are gone, and rows are committed in its order since writers come one after another: a running
-- service reads what is new by it. A row may go when expires_at, the end of the token itself, has passed.
CREATE TABLE revoked_tokens (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    jti TEXT NOT NULL UNIQUE,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX revoked_tokens_by_time ON revoked_tokens (expires_at);

-- One row: the latest expires_at of all rows that are gone. Of a token that ends no later nobody knows whether it was revoked.
CREATE TABLE revoked_tokens_horizon (
    expires_at INTEGER NOT NULL
) STRICT;

INSERT INTO revoked_tokens_horizon (expires_at) VALUES (0);
