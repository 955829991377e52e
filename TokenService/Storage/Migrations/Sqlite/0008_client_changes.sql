-- Which clients each of the last versions of the store changed, added or removed; a running service reads only those. A version without a row
-- changed something else, or many, or was written by the build before: then all is read.
-- It may be there: what is read back from a dump of before does not take it away.
DROP TABLE IF EXISTS client_changes;
CREATE TABLE client_changes (
    version INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    PRIMARY KEY (version, client_id)
) STRICT, WITHOUT ROWID;
