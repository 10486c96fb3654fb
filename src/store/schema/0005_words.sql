-- What RFC 9990 lets reporters say in which language, and which records were left out.

ALTER TABLE report ADD COLUMN extra_contact_lang TEXT;
-- [[record, reason], ...] of the first that were left out, NULL when none was.
ALTER TABLE report ADD COLUMN skipped TEXT;
ALTER TABLE tls_report ADD COLUMN skipped TEXT;

-- The arrays of texts hold the language where it is stated, as one element more:
--   report.errors     [text, [text, lang], ...]
--   record.reasons    [[type, comment, lang?], ...]
--   record.dkim_auth  [[domain, selector, result, human_result, lang?], ...]
--   record.spf_auth   [[domain, scope, result, human_result, lang?], ...]
