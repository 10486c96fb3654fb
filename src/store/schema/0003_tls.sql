-- TLS reports (RFC 8460). They are documents like any other: digests, keys, revisions and arrivals
-- are those of 0001.

-- The head of a TLS report.
CREATE TABLE tls_report (
    id               INTEGER PRIMARY KEY REFERENCES document (id),
    -- As in `report`.
    current          INTEGER NOT NULL CHECK (current IN (0, 1)),
    -- The configured domain that it belongs to, and the name that its policy is about.
    domain           TEXT    NOT NULL,
    policy_domain    TEXT    NOT NULL,
    range_begin      INTEGER NOT NULL,
    range_end        INTEGER NOT NULL,
    org_name         TEXT    NOT NULL,
    contact          TEXT    NOT NULL,
    report_id        TEXT    NOT NULL,
    policies         INTEGER NOT NULL,
    skipped_policies INTEGER NOT NULL,
    -- Of all policies; one session counts as often as policies cover it.
    sessions         INTEGER NOT NULL,
    notes            TEXT,
    parser_version   INTEGER NOT NULL,
    archive          BLOB    CHECK (length(archive) = 32)
) STRICT;

CREATE INDEX tls_report_by_domain ON tls_report (domain, range_begin);

-- What `record` is to `report`, and written like it.
CREATE TABLE tls_policy (
    report        INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    -- The configured domain, NULL if the policy is about somebody else's.
    domain        TEXT,
    policy_domain TEXT    NOT NULL,
    policy_type   TEXT,
    -- JSON arrays of texts, NULL when empty.
    policy_string TEXT,
    mx_host       TEXT,
    successful    INTEGER NOT NULL,
    failed        INTEGER NOT NULL,
    -- [[result_type, sessions, sending_mta_ip, receiving_mx_hostname, receiving_mx_helo,
    --   receiving_ip, additional_information, reason_code], ...]
    failures      TEXT,
    PRIMARY KEY (report, seq)
) STRICT, WITHOUT ROWID;

-- Sessions of current reports by the day of range_begin. Never to be summed over policy types,
-- which overlap, nor over results: 'successful' and 'failed' are the sums that policies state, the
-- others are result types, which overlap too. 'other' is what is not stated or not known.
CREATE TABLE tls_rollup (
    day           INTEGER NOT NULL,
    domain        TEXT    NOT NULL,
    policy_domain TEXT    NOT NULL,
    policy_type   TEXT    NOT NULL,
    result        TEXT    NOT NULL,
    sessions      INTEGER NOT NULL,
    PRIMARY KEY (day, domain, policy_domain, policy_type, result)
) STRICT, WITHOUT ROWID;
