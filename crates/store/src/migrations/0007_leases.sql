-- Which node does work that must happen once in a hub. A row stays when its lease is released, so that the fence keeps
-- increasing. The expiry is in milliseconds since 1970.
CREATE TABLE lease (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    fence INTEGER NOT NULL,
    expiry INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
