-- Events get properties with types. Those of earlier events stay in their property bag, which is '' for new ones.
ALTER TABLE event RENAME COLUMN properties TO property_bag;
-- The stored form of properties, which begins with its version; NULL for earlier events.
ALTER TABLE event ADD COLUMN properties BLOB;
