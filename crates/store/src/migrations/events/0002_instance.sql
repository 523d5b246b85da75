-- The id of the hub that the log belongs to, in one row.
CREATE TABLE instance (id TEXT NOT NULL) STRICT;
