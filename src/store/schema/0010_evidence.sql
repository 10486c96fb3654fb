-- What a finding rests on, as JSON: what is wanted, what was published, who reported what and when.
-- NULL in rows of before.
ALTER TABLE finding ADD COLUMN evidence TEXT;
