-- How many devices are disabled, counted as they change: to look at a million rows takes too long.
ALTER TABLE registry_size ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;
UPDATE registry_size SET disabled = (SELECT count(*) FROM identity WHERE module_id = '' AND disabled);

CREATE TRIGGER disabled_device_added AFTER INSERT ON identity WHEN NEW.module_id = '' AND NEW.disabled
BEGIN UPDATE registry_size SET disabled = disabled + 1; END;

CREATE TRIGGER disabled_device_removed AFTER DELETE ON identity WHEN OLD.module_id = '' AND OLD.disabled
BEGIN UPDATE registry_size SET disabled = disabled - 1; END;

CREATE TRIGGER device_disabled_or_enabled AFTER UPDATE OF disabled ON identity
WHEN NEW.module_id = '' AND NEW.disabled <> OLD.disabled
BEGIN UPDATE registry_size SET disabled = disabled + NEW.disabled - OLD.disabled; END;

-- Who is connected, so that a hub that died under its devices finds them when it comes back.
ALTER TABLE identity ADD COLUMN connected INTEGER NOT NULL DEFAULT 0;
CREATE INDEX connected_identity ON identity (device_id, module_id) WHERE connected;
