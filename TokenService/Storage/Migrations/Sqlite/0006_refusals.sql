-- The last refusals, for "explain"; those of the lowest ids go. No secret, assertion or token is in any text.
-- A trace_id may stand here more than once: a caller can choose it.
CREATE TABLE refusals (
    id INTEGER NOT NULL PRIMARY KEY,
    trace_id TEXT NOT NULL,
    refused_at INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    address TEXT NOT NULL,
    client_id TEXT,
    error TEXT NOT NULL,
    failed_check TEXT NOT NULL,
    expected TEXT NOT NULL,
    came TEXT NOT NULL
) STRICT;

CREATE INDEX refusals_by_trace_id ON refusals (trace_id);
