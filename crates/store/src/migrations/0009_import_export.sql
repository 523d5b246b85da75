-- Jobs that import or export identities, in the order of their creation. An ended job is kept for a while.
CREATE TABLE import_export_job (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT    NOT NULL UNIQUE,
    status   TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    ended    INTEGER,           -- NULL while it waits or runs
    run      INTEGER NOT NULL,  -- how often a node has begun to run it; writes of earlier runs are refused
    request  TEXT    NOT NULL,  -- a JSON object, like the next column
    progress TEXT    NOT NULL,
    failure  TEXT               -- why it failed
) STRICT;
CREATE INDEX active_import_export_job ON import_export_job (sequence) WHERE ended IS NULL;

-- Lines for the log of errors of a running import.
CREATE TABLE import_export_error (
    job    INTEGER NOT NULL REFERENCES import_export_job ON DELETE CASCADE,
    number INTEGER NOT NULL,    -- from 0
    line   TEXT    NOT NULL,
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

-- Lines of a running import that wait for an identity that comes later in the blob.
CREATE TABLE import_export_deferred (
    job    INTEGER NOT NULL REFERENCES import_export_job ON DELETE CASCADE,
    number INTEGER NOT NULL,    -- the number of the line in the blob
    line   TEXT    NOT NULL,
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;
