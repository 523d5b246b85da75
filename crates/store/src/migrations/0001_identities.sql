-- Devices and modules. Each connect reads a row by primary key, so the table is its own index (WITHOUT ROWID).
CREATE TABLE identity (
    device_id                TEXT    NOT NULL,
    module_id                TEXT    NOT NULL,  -- '' is the device itself
    generation_id            TEXT    NOT NULL,
    etag                     TEXT    NOT NULL,
    disabled                 INTEGER NOT NULL,
    status_reason            TEXT,
    status_updated           INTEGER NOT NULL,  -- milliseconds since 1970, like all times here
    authentication           INTEGER NOT NULL,  -- 0 sas, 1 selfSigned, 2 certificateAuthority, 3 none
    primary_secret           TEXT,              -- sas: the key in base64; selfSigned: the thumbprint
    secondary_secret         TEXT,
    iot_edge                 INTEGER NOT NULL,
    device_scope             TEXT,
    parent_scopes            TEXT    NOT NULL,  -- a JSON array of strings
    managed_by               TEXT,
    connection_state_updated INTEGER NOT NULL,
    last_activity            INTEGER NOT NULL,
    session                  INTEGER,           -- subscriptions as bits; NULL: no stored session
    PRIMARY KEY (device_id, module_id)
) STRICT, WITHOUT ROWID;

-- A counter, because counting a million rows for each insert would take longer than the insert.
CREATE TABLE registry_size (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    devices INTEGER NOT NULL
) STRICT;
INSERT INTO registry_size (one, devices) VALUES (1, 0);

CREATE TRIGGER device_added AFTER INSERT ON identity WHEN NEW.module_id = ''
BEGIN UPDATE registry_size SET devices = devices + 1; END;

CREATE TRIGGER device_removed AFTER DELETE ON identity WHEN OLD.module_id = ''
BEGIN UPDATE registry_size SET devices = devices - 1; END;

-- Shared access policies.
CREATE TABLE policy (
    name          TEXT    NOT NULL PRIMARY KEY,
    rights        INTEGER NOT NULL,
    primary_key   TEXT    NOT NULL,             -- base64
    secondary_key TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Certificate authorities whose devices may connect.
CREATE TABLE authority (
    name              TEXT    NOT NULL PRIMARY KEY,
    certificate       BLOB    NOT NULL,         -- DER
    verified          INTEGER NOT NULL,
    verification_code TEXT
) STRICT, WITHOUT ROWID;
