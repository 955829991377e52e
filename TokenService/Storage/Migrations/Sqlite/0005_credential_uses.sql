-- When each secret and key of a client was last used, written by the service at most once a minute; store_version does not count it.
-- credential is 'secret:' and the first 12 hexadecimal digits of the secret's hash, or 'key:' and the kid or thumbprint. There is no
-- reference to clients: the build before this one removes clients and knows nothing of this table.
CREATE TABLE credential_uses (
    client_id TEXT NOT NULL,
    credential TEXT NOT NULL,
    last_used_at INTEGER NOT NULL,
    PRIMARY KEY (client_id, credential)
) STRICT, WITHOUT ROWID;

-- None for clients of the builds before.
ALTER TABLE clients ADD COLUMN client_id_issued_at INTEGER;

-- Where rotate-secret has made a successor: from then on the secret is no longer good, whatever expires_at says.
ALTER TABLE client_secrets ADD COLUMN overlap_ends_at INTEGER;
