-- Sequence numbers of events that were appended after a backup from which the log was restored. The numbering continues
-- after them, so that a position among them can be refused.
CREATE TABLE lost_events (
    partition INTEGER NOT NULL,
    first     INTEGER NOT NULL,  -- the number of the next event when the backup was made
    next      INTEGER NOT NULL,  -- the number at which the log continued
    backup    INTEGER NOT NULL,  -- when the backup was made, in milliseconds since 1970
    restored  INTEGER NOT NULL,  -- when the log was restored
    PRIMARY KEY (partition, first)
) STRICT, WITHOUT ROWID;
