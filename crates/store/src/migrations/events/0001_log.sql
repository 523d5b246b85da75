-- Telemetry of devices and events of the hub, in the order in which the hub accepted them.
CREATE TABLE event (
    key           INTEGER PRIMARY KEY,  -- partition * 2^56 + sequence number
    enqueued      INTEGER NOT NULL,     -- milliseconds since 1970; never decreases within a partition
    source        INTEGER NOT NULL,     -- EventSource
    device_id     TEXT    NOT NULL,
    module_id     TEXT    NOT NULL,     -- '' is the device itself
    generation_id TEXT    NOT NULL,
    auth          INTEGER,              -- AuthMethod; NULL for an event of the hub
    properties    TEXT    NOT NULL,     -- a property bag
    body          BLOB    NOT NULL
) STRICT;

-- One row for each partition, created with the log. The number of partitions never changes.
CREATE TABLE partition (
    id            INTEGER PRIMARY KEY,
    next          INTEGER NOT NULL,     -- sequence number of the next event
    last_enqueued INTEGER,              -- NULL before the first event
    bytes         INTEGER NOT NULL      -- size of the stored events
) STRICT;
