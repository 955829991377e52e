#!/usr/bin/env python3
"""Prints the content of the embedded store as SQL for an empty PostgreSQL store; docs/operations.md says how to use it.

    sqlite-to-postgresql.py token-service.db | psql -v ON_ERROR_STOP=1 "host=… dbname=… user=…"

Both have the same tables. What is encrypted stays so, under the same master key. Refusals, which explain tells, stay behind.
"""
import pathlib
import sqlite3
import sys

# In an order in which what is referred to is there first.
TABLES = ["resources", "scopes", "clients", "client_secrets", "trusted_issuers", "signing_keys", "used_assertions", "revoked_tokens", "credential_uses"]
HORIZONS = {"used_assertions_horizon": "keep_until", "revoked_tokens_horizon": "expires_at"}


def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


store = sqlite3.connect(f"{pathlib.Path(sys.argv[1]).resolve().as_uri()}?mode=ro", uri=True)
store.row_factory = sqlite3.Row
print("SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; BEGIN;")
# A second set of clients or keys is not merged into the first: the younger key would sign at once, unknown to verifiers.
print("""DO $$ BEGIN
IF EXISTS (SELECT 1 FROM signing_keys) OR EXISTS (SELECT 1 FROM clients) OR EXISTS (SELECT 1 FROM resources) THEN
    RAISE EXCEPTION 'The PostgreSQL store is not empty; make the database anew, and only its tables (clients list).';
END IF; END $$;""")
for table in TABLES:
    # The database numbers revoked tokens itself.
    for row in store.execute(f"SELECT * FROM {table}" + (" ORDER BY id" if table == "revoked_tokens" else "")):
        columns = [column for column in row.keys() if column != "id"]
        print(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(literal(row[column]) for column in columns)});")
for table, column in HORIZONS.items():
    print(f"UPDATE {table} SET {column} = {store.execute(f'SELECT {column} FROM {table}').fetchone()[0]};")
print("UPDATE store_version SET version = version + 1; NOTIFY token_service; COMMIT;")
