-- Messages to devices and modules. The queue of an identity is all its messages in the order of `sequence`.
CREATE TABLE message (
    sequence       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,  -- never reused, even after rows are deleted
    device_id      TEXT    NOT NULL,
    module_id      TEXT    NOT NULL,  -- '' is the device itself
    enqueued       INTEGER NOT NULL,  -- milliseconds since 1970, like all times here
    expiry         INTEGER NOT NULL,
    delivery_count INTEGER NOT NULL,  -- how often the message was abandoned
    ack            INTEGER NOT NULL,  -- feedback wanted: 1 on success, 2 on failure, 3 on both
    message_id     TEXT,              -- set by the sender
    input          TEXT,              -- the module's input, if the message is for one
    size           INTEGER NOT NULL,  -- bytes of properties and body
    properties     TEXT    NOT NULL,  -- a property bag
    body           BLOB    NOT NULL,
    FOREIGN KEY (device_id, module_id) REFERENCES identity ON DELETE CASCADE
) STRICT;
-- Contains all columns that decide about a delivery, so that bodies are read only when they are sent.
CREATE INDEX message_queue ON message (device_id, module_id, sequence, expiry, size, input);
CREATE INDEX message_expiry ON message (expiry);

-- Stored with the identity, so that reading the identity also returns the count.
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

-- Feedback on messages, for their senders.
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
