-- Twins that were changed at least once. A twin without a row has the default content.
CREATE TABLE twin (
    device_id         TEXT    NOT NULL,
    module_id         TEXT    NOT NULL,  -- '' is the device itself
    updates           INTEGER NOT NULL,  -- the etag
    model_id          TEXT    NOT NULL,  -- '' if the device never sent one
    tags              TEXT    NOT NULL,  -- a JSON object, like all following columns except the versions
    desired           TEXT    NOT NULL,
    desired_metadata  TEXT    NOT NULL,
    desired_version   INTEGER NOT NULL,
    reported          TEXT    NOT NULL,
    reported_metadata TEXT    NOT NULL,
    reported_version  INTEGER NOT NULL,
    PRIMARY KEY (device_id, module_id),
    FOREIGN KEY (device_id, module_id) REFERENCES identity ON DELETE CASCADE
) STRICT;
