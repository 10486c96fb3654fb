-- Failure reports (RFC 6591, RFC 9991). They are documents like any other: digests, keys, revisions
-- and arrivals are those of 0001. Rows go after `retention.failure_days`; documents and arrivals stay.

CREATE TABLE failure_report (
    id                 INTEGER PRIMARY KEY REFERENCES document (id),
    -- As in `report`.
    current            INTEGER NOT NULL CHECK (current IN (0, 1)),
    domain             TEXT    NOT NULL,
    policy_domain      TEXT    NOT NULL,
    -- When the message arrived, as the reporter says, and when the report did: the row's age is by
    -- our own clock, so that nobody can make it last.
    arrival            INTEGER NOT NULL,
    first_seen         INTEGER NOT NULL,
    org_name           TEXT    NOT NULL,
    email              TEXT    NOT NULL,
    report_id          TEXT    NOT NULL,
    generator          TEXT    NOT NULL,
    incidents          INTEGER NOT NULL,
    feedback_type      TEXT    NOT NULL,
    auth_failure       TEXT,
    delivery_result    TEXT,
    identity_alignment TEXT    NOT NULL,
    source_ip          BLOB,
    envelope_id        TEXT    NOT NULL,
    -- NULL: not stated. Empty: stated, the null sender.
    mail_from          TEXT,
    -- JSON arrays of texts, NULL when empty.
    rcpt_to            TEXT,
    auth_results       TEXT,
    spf_dns            TEXT,
    dkim_domain        TEXT    NOT NULL,
    dkim_identity      TEXT    NOT NULL,
    dkim_selector      TEXT    NOT NULL,
    -- Of the message's header.
    header_from        TEXT    NOT NULL,
    header_subject     TEXT    NOT NULL,
    header_date        TEXT    NOT NULL,
    header_message_id  TEXT    NOT NULL,
    notes              TEXT,
    parser_version     INTEGER NOT NULL
) STRICT;

CREATE INDEX failure_report_by_domain ON failure_report (domain, arrival);
CREATE INDEX failure_report_by_age ON failure_report (first_seen);
