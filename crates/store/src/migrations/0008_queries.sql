-- Secret keys of the hub that all its nodes share.
CREATE TABLE secret (
    name TEXT NOT NULL PRIMARY KEY,
    key  TEXT NOT NULL  -- base64
) STRICT, WITHOUT ROWID;

-- Queries look for single values in the JSON of many twins. In the binary form, SQLite finds them without parsing the
-- text. The times in the metadata get one width, so that they can be compared as texts.
CREATE TABLE new_twin (
    device_id         TEXT    NOT NULL,
    module_id         TEXT    NOT NULL,  -- '' is the device itself
    updates           INTEGER NOT NULL,  -- the etag
    model_id          TEXT    NOT NULL,  -- '' if the device never sent one
    desired_version   INTEGER NOT NULL,
    reported_version  INTEGER NOT NULL,
    tags              BLOB    NOT NULL,  -- a JSON object in SQLite's binary form (JSONB), like all following columns
    desired           BLOB    NOT NULL,
    reported          BLOB    NOT NULL,
    desired_metadata  BLOB    NOT NULL,
    reported_metadata BLOB    NOT NULL,
    PRIMARY KEY (device_id, module_id),
    FOREIGN KEY (device_id, module_id) REFERENCES identity ON DELETE CASCADE
) STRICT;

INSERT INTO new_twin
SELECT device_id, module_id, updates, model_id, desired_version, reported_version, jsonb(tags), jsonb(desired),
       jsonb(reported), jsonb(ferrohub_one_width(desired_metadata)), jsonb(ferrohub_one_width(reported_metadata))
FROM twin ORDER BY device_id, module_id;

DROP TABLE twin;
ALTER TABLE new_twin RENAME TO twin;
