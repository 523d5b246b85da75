-- A counter of disabled devices, updated by triggers, because counting a million rows takes too long.
ALTER TABLE registry_size ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;
UPDATE registry_size SET disabled = (SELECT count(*) FROM identity WHERE module_id = '' AND disabled);

CREATE TRIGGER disabled_device_added AFTER INSERT ON identity WHEN NEW.module_id = '' AND NEW.disabled
BEGIN UPDATE registry_size SET disabled = disabled + 1; END;

CREATE TRIGGER disabled_device_removed AFTER DELETE ON identity WHEN OLD.module_id = '' AND OLD.disabled
BEGIN UPDATE registry_size SET disabled = disabled - 1; END;

CREATE TRIGGER device_disabled_or_enabled AFTER UPDATE OF disabled ON identity
WHEN NEW.module_id = '' AND NEW.disabled <> OLD.disabled
BEGIN UPDATE registry_size SET disabled = disabled + NEW.disabled - OLD.disabled; END;

-- Which identities are connected, so that a hub that restarts after a crash can mark them as disconnected.
ALTER TABLE identity ADD COLUMN connected INTEGER NOT NULL DEFAULT 0;
CREATE INDEX connected_identity ON identity (device_id, module_id) WHERE connected;
