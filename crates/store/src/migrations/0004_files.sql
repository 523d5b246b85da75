-- Active uploads. Expired ones are kept for a while, so that a late device gets a specific error.
CREATE TABLE upload (
    correlation_id TEXT    NOT NULL PRIMARY KEY,
    device_id      TEXT    NOT NULL,
    module_id      TEXT    NOT NULL DEFAULT '' CHECK (module_id = ''),
    blob           TEXT    NOT NULL,
    expires        INTEGER NOT NULL,
    expired        INTEGER NOT NULL DEFAULT 0,  -- whether the expiry was already processed
    FOREIGN KEY (device_id, module_id) REFERENCES identity ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX upload_of_device ON upload (device_id, module_id);
CREATE INDEX upload_by_end ON upload (expires);

-- The catalogue of the blob folder. A row names the file that contains the bytes; a file without a row is not a blob.
CREATE TABLE blob (
    name       TEXT    NOT NULL PRIMARY KEY,
    file       TEXT    NOT NULL UNIQUE,
    bytes      INTEGER NOT NULL,
    etag       TEXT    NOT NULL,
    modified   INTEGER NOT NULL,
    properties TEXT    NOT NULL               -- a JSON object of strings
) STRICT;

-- Keys that sign URLs to the blob folder. The newest key signs; URLs signed with older stored keys are still valid.
CREATE TABLE blob_key (
    made INTEGER NOT NULL PRIMARY KEY,
    key  TEXT    NOT NULL                     -- base64
) STRICT;

-- File notifications that no service has completed yet, in the order in which they were created.
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
