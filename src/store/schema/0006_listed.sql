-- What a list of reports shows of each kind that it lists.
CREATE VIEW listed AS
    SELECT id, domain, policy_domain, org_name, email, report_id, range_begin, range_end,
           records, skipped_records, skipped, messages, current, notes
    FROM report
    UNION ALL
    SELECT id, domain, policy_domain, org_name, email, report_id, arrival, arrival,
           1, 0, NULL, incidents, current, notes
    FROM failure_report
    UNION ALL
    SELECT id, domain, policy_domain, org_name, contact, report_id, range_begin, range_end,
           policies, skipped_policies, skipped, sessions, current, notes
    FROM tls_report;
