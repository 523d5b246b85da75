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
       jsonb(reported),
jsonb((
    WITH RECURSIVE
        node AS MATERIALIZED (
            SELECT row_number() OVER () AS number, fullkey AS path, rtrim(value, 'Z') AS time
            FROM json_tree(desired_metadata) WHERE key = '$lastUpdated' AND type = 'text'
        ),
        step (number, metadata) AS (
            SELECT 0, desired_metadata
            UNION ALL
            SELECT node.number, json_set(metadata, path, iif(time LIKE '0001-01-01T00:00:00%', '0001-01-01T00:00:00Z',
                substr(time, 1, 19) || '.' || substr(substr(time, 21) || '0000000', 1, 7) || 'Z'))
            FROM step JOIN node ON node.number = step.number + 1
        )
    SELECT metadata FROM step ORDER BY number DESC LIMIT 1
)),
jsonb((
    WITH RECURSIVE
        node AS MATERIALIZED (
            SELECT row_number() OVER () AS number, fullkey AS path, rtrim(value, 'Z') AS time
            FROM json_tree(reported_metadata) WHERE key = '$lastUpdated' AND type = 'text'
        ),
        step (number, metadata) AS (
            SELECT 0, reported_metadata
            UNION ALL
            SELECT node.number, json_set(metadata, path, iif(time LIKE '0001-01-01T00:00:00%', '0001-01-01T00:00:00Z',
                substr(time, 1, 19) || '.' || substr(substr(time, 21) || '0000000', 1, 7) || 'Z'))
            FROM step JOIN node ON node.number = step.number + 1
        )
    SELECT metadata FROM step ORDER BY number DESC LIMIT 1
))
FROM twin ORDER BY device_id, module_id;

DROP TABLE twin;
ALTER TABLE new_twin RENAME TO twin;
