-- What others may read: packaging/guides/sql.md documents these views and promises that they stay. The
-- tables beneath them may change.

-- One row a report, of every kind.
DROP VIEW listed;
CREATE VIEW reports AS
    SELECT id, 'aggregate' AS kind, domain, policy_domain, org_name, email, report_id,
           date(range_begin, 'unixepoch') AS day, range_begin, range_end,
           -- A query of its own, as only who asks for it pays for it.
           (SELECT first_seen FROM document WHERE document.id = report.id) AS first_seen,
           records, messages, current, skipped_records, skipped, notes
    FROM report
    UNION ALL
    SELECT id, 'failure', domain, policy_domain, org_name, email, report_id,
           date(arrival, 'unixepoch'), arrival, arrival,
           first_seen, 1, incidents, current, 0, NULL, notes
    FROM failure_report
    UNION ALL
    SELECT id, 'tls', domain, policy_domain, org_name, contact, report_id,
           date(range_begin, 'unixepoch'), range_begin, range_end,
           (SELECT first_seen FROM document WHERE document.id = tls_report.id),
           policies, sessions, current, skipped_policies, skipped, notes
    FROM tls_report;

-- One row a record of an aggregate report that is summed, with what its report says.
CREATE VIEW dmarc_records AS
    SELECT report.id AS report, seq, domain, policy_domain, org_name, report_id,
           date(range_begin, 'unixepoch') AS day, range_begin, range_end,
           CASE length(source_ip) WHEN 4 THEN (
               -- The place among these digits is the value; of 0, which is not there, it is 0.
               WITH octets(hex, digits) AS (SELECT hex(source_ip), '123456789ABCDEF')
               SELECT printf('%d.%d.%d.%d',
                   16 * instr(digits, substr(hex, 1, 1)) + instr(digits, substr(hex, 2, 1)),
                   16 * instr(digits, substr(hex, 3, 1)) + instr(digits, substr(hex, 4, 1)),
                   16 * instr(digits, substr(hex, 5, 1)) + instr(digits, substr(hex, 6, 1)),
                   16 * instr(digits, substr(hex, 7, 1)) + instr(digits, substr(hex, 8, 1)))
               FROM octets
           ) ELSE (
               -- RFC 5952 section 4: no leading zeros, and `::` for the longest run of zeros, the
               -- first of equal ones, that is longer than one. (Each step is made once: in line
               -- their texts would be made at every place that names them, at ten times the cost.)
               WITH octets(hex) AS (SELECT lower(hex(source_ip))),
                    fields(text) AS MATERIALIZED (SELECT printf(
                        ':%s%s:%s%s:%s%s:%s%s:%s%s:%s%s:%s%s:%s%s:',
                        ltrim(substr(hex, 1, 3), '0'), substr(hex, 4, 1),
                        ltrim(substr(hex, 5, 3), '0'), substr(hex, 8, 1),
                        ltrim(substr(hex, 9, 3), '0'), substr(hex, 12, 1),
                        ltrim(substr(hex, 13, 3), '0'), substr(hex, 16, 1),
                        ltrim(substr(hex, 17, 3), '0'), substr(hex, 20, 1),
                        ltrim(substr(hex, 21, 3), '0'), substr(hex, 24, 1),
                        ltrim(substr(hex, 25, 3), '0'), substr(hex, 28, 1),
                        ltrim(substr(hex, 29, 3), '0'), substr(hex, 32, 1)) FROM octets),
                    zeros(text, run) AS MATERIALIZED (SELECT text, CASE
                        WHEN instr(text, ':0:0:0:0:0:0:0:0:') THEN ':0:0:0:0:0:0:0:0:'
                        WHEN instr(text, ':0:0:0:0:0:0:0:') THEN ':0:0:0:0:0:0:0:'
                        WHEN instr(text, ':0:0:0:0:0:0:') THEN ':0:0:0:0:0:0:'
                        WHEN instr(text, ':0:0:0:0:0:') THEN ':0:0:0:0:0:'
                        WHEN instr(text, ':0:0:0:0:') THEN ':0:0:0:0:'
                        WHEN instr(text, ':0:0:0:') THEN ':0:0:0:'
                        WHEN instr(text, ':0:0:') THEN ':0:0:' END FROM fields)
               SELECT CASE WHEN run IS NULL THEN trim(text, ':')
                      ELSE trim(substr(text, 1, instr(text, run)), ':') || '::' ||
                           trim(substr(text, instr(text, run) + length(run)), ':') END
               FROM zeros
           ) END AS source_ip,
           count, disposition, dkim, spf,
           CASE WHEN 'pass' IN (dkim, spf) THEN 'pass' WHEN 'fail' IN (dkim, spf) THEN 'fail' END AS dmarc,
           header_from, envelope_from, envelope_to, reasons, dkim_auth, spf_auth,
           p, sp, np, adkim, aspf, pct, testing
    FROM report JOIN record ON record.report = report.id
    WHERE current;

-- Messages by day, domain and result: what `dmarc_records` add up to, of reports that were deleted too.
CREATE VIEW dmarc_days AS
    SELECT date(day * 86400, 'unixepoch') AS day, domain, policy_domain,
           nullif(disposition, '') AS disposition, nullif(dkim, '') AS dkim, nullif(spf, '') AS spf,
           nullif(dmarc, '') AS dmarc, messages
    FROM rollup;

-- Sessions by day, domain, policy type and result.
CREATE VIEW tls_days AS
    SELECT date(day * 86400, 'unixepoch') AS day, domain, policy_domain, policy_type, result, sessions
    FROM tls_rollup;
