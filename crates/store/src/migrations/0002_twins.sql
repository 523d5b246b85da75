-- Twins that were ever changed; the others are the default and have no row.
CREATE TABLE twin (
    device_id         TEXT    NOT NULL,
    module_id         TEXT    NOT NULL,  -- '' is the device itself
    updates           INTEGER NOT NULL,  -- the etag
    model_id          TEXT    NOT NULL,  -- '' if the device never named one
    tags              TEXT    NOT NULL,  -- a JSON object, as all that follows but the versions
    desired           TEXT    NOT NULL,
    desired_metadata  TEXT    NOT NULL,
    desired_version   INTEGER NOT NULL,
    reported          TEXT    NOT NULL,
    reported_metadata TEXT    NOT NULL,
    reported_version  INTEGER NOT NULL,
    PRIMARY KEY (device_id, module_id),
    FOREIGN KEY (device_id, module_id) REFERENCES identity ON DELETE CASCADE
) STRICT;
