-- The id of this hub, in one row. The event log and the blob folder have the same id, so that files of different hubs
-- are recognised.
CREATE TABLE instance (id TEXT NOT NULL) STRICT;
