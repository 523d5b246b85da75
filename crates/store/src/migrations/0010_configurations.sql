-- Configurations (automatic device management).
CREATE TABLE configuration (
    id       TEXT    NOT NULL PRIMARY KEY,
    number   INTEGER NOT NULL,  -- the order of creation
    revision INTEGER NOT NULL,  -- the etag
    document TEXT    NOT NULL   -- JSON
) STRICT, WITHOUT ROWID;

-- The last number or revision, and where the sweep over all devices is; NULL if it is complete.
CREATE TABLE configuration_state (
    one            INTEGER PRIMARY KEY CHECK (one = 1),
    counter        INTEGER NOT NULL,
    sweep_position TEXT
) STRICT;
INSERT INTO configuration_state (one, counter, sweep_position) VALUES (1, 0, NULL);

-- What configurations have done to a twin: the status of each by id, and the id by path of a desired property. Both are
-- JSON objects in SQLite's binary form, or both are NULL.
ALTER TABLE twin ADD COLUMN configurations BLOB;
ALTER TABLE twin ADD COLUMN configured_paths BLOB;
CREATE INDEX configured_twin ON twin (device_id) WHERE configurations IS NOT NULL;
