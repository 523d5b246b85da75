-- Uploads that devices have begun and not ended. Those that ran out stay a while, so that a late device is told why.
CREATE TABLE upload (
    correlation_id TEXT    NOT NULL PRIMARY KEY,
    device_id      TEXT    NOT NULL,
    module_id      TEXT    NOT NULL DEFAULT '' CHECK (module_id = ''),
    blob           TEXT    NOT NULL,
    expires        INTEGER NOT NULL,
    expired        INTEGER NOT NULL DEFAULT 0,  -- whether it was noticed that it ran out
    FOREIGN KEY (device_id, module_id) REFERENCES identity ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX upload_of_device ON upload (device_id, module_id);
CREATE INDEX upload_by_end ON upload (expires);

-- What is in the hub's own folder for files. A row says which file holds the bytes; a file without a row is no blob.
CREATE TABLE blob (
    name       TEXT    NOT NULL PRIMARY KEY,
    file       TEXT    NOT NULL UNIQUE,
    bytes      INTEGER NOT NULL,
    etag       TEXT    NOT NULL,
    modified   INTEGER NOT NULL,
    properties TEXT    NOT NULL               -- a JSON object of strings
) STRICT;

-- What signs URLs to that folder: the newest signs, and those that are kept are still good.
CREATE TABLE blob_key (
    made INTEGER NOT NULL PRIMARY KEY,
    key  TEXT    NOT NULL                     -- base64
) STRICT;

-- What services have not heard yet of uploaded files, in the order in which it came about.
CREATE TABLE file_notification (
    sequence     INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id    TEXT    NOT NULL,
    blob         TEXT    NOT NULL,
    blob_uri     TEXT    NOT NULL,
    bytes        INTEGER NOT NULL,
    last_updated INTEGER NOT NULL,
    enqueued     INTEGER NOT NULL,
    expires      INTEGER NOT NULL,
    deliveries   INTEGER NOT NULL DEFAULT 0,
    lock_token   TEXT,
    locked_until INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX file_notification_lock ON file_notification (lock_token);
CREATE INDEX file_notification_end ON file_notification (expires);
