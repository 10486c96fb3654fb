-- The TXT record that mends a finding, where one does.

ALTER TABLE finding ADD COLUMN publish_name TEXT;
ALTER TABLE finding ADD COLUMN publish_text TEXT;
