-- Messages to devices and modules. Their queue is all of an identity, in the order of `sequence`.
CREATE TABLE message (
    sequence       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,  -- never used twice, also when rows are gone
    device_id      TEXT    NOT NULL,
    module_id      TEXT    NOT NULL,  -- '' is the device itself
    enqueued       INTEGER NOT NULL,  -- milliseconds since 1970, as every time here
    expiry         INTEGER NOT NULL,
    delivery_count INTEGER NOT NULL,  -- how often the device gave it back
    ack            INTEGER NOT NULL,  -- 1: tell of success, 2: of failure, 3: of both
    message_id     TEXT,              -- the sender's
    input          TEXT,              -- of the module, if it is for one
    size           INTEGER NOT NULL,  -- bytes of properties and body
    properties     TEXT    NOT NULL,  -- a property bag
    body           BLOB    NOT NULL,
    FOREIGN KEY (device_id, module_id) REFERENCES identity ON DELETE CASCADE
) STRICT;
-- Holds what decides about a delivery, so that bodies are read only when they are sent.
CREATE INDEX message_queue ON message (device_id, module_id, sequence, expiry, size, input);
CREATE INDEX message_expiry ON message (expiry);

-- Beside the identity, so that whoever reads that knows it.
ALTER TABLE identity ADD COLUMN messages INTEGER NOT NULL DEFAULT 0;
ALTER TABLE registry_size ADD COLUMN messages INTEGER NOT NULL DEFAULT 0;

CREATE TRIGGER message_added AFTER INSERT ON message
BEGIN
    UPDATE identity SET messages = messages + 1 WHERE device_id = NEW.device_id AND module_id = NEW.module_id;
    UPDATE registry_size SET messages = messages + 1;
END;

CREATE TRIGGER message_removed AFTER DELETE ON message
BEGIN
    UPDATE identity SET messages = messages - 1 WHERE device_id = OLD.device_id AND module_id = OLD.module_id;
    UPDATE registry_size SET messages = messages - 1;
END;

-- What became of messages, for their senders.
CREATE TABLE feedback (
    sequence       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    device_id      TEXT    NOT NULL,
    module_id      TEXT    NOT NULL,
    generation_id  TEXT    NOT NULL,
    message_id     TEXT,
    status         INTEGER NOT NULL,  -- 0 Success, 1 Expired, 2 DeliveryCountExceeded, 3 Rejected, 4 Purged
    enqueued       INTEGER NOT NULL,
    expiry         INTEGER NOT NULL,
    delivery_count INTEGER NOT NULL,
    FOREIGN KEY (device_id, module_id) REFERENCES identity ON DELETE CASCADE
) STRICT;
CREATE INDEX feedback_of ON feedback (device_id, module_id);
CREATE INDEX feedback_expiry ON feedback (expiry);
