-- What devices sent and the hub has to tell, in the order in which it was taken.
CREATE TABLE event (
    key           INTEGER PRIMARY KEY,  -- partition * 2^56 + sequence number
    enqueued      INTEGER NOT NULL,     -- milliseconds since 1970; never falls within a partition
    source        INTEGER NOT NULL,     -- EventSource
    device_id     TEXT    NOT NULL,
    module_id     TEXT    NOT NULL,     -- '' is the device itself
    generation_id TEXT    NOT NULL,
    auth          INTEGER,              -- AuthMethod; NULL if the hub tells it
    properties    TEXT    NOT NULL,     -- a property bag
    body          BLOB    NOT NULL
) STRICT;

-- One row for each partition, made with the log: their number never changes.
CREATE TABLE partition (
    id            INTEGER PRIMARY KEY,
    next          INTEGER NOT NULL,     -- sequence number of the next event
    last_enqueued INTEGER,              -- NULL before the first event
    bytes         INTEGER NOT NULL      -- what the events that are there take
) STRICT;
