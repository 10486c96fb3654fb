-- Reports, where they came from, and what they sum up to.
--
-- Rows and indexes per record are what storing costs (60,000 records: 90 ms of CPU without an
-- index, 313 ms with two), so a record is one row and has no index but its key:
--   * `record` is WITHOUT ROWID under (report, seq): the records of a report lie together, and
--     one B-tree holds them. It has no foreign key (40 % of the insert); one function writes
--     it, and whoever deletes a report deletes its records first.
--   * DKIM, SPF and reasons are JSON arrays in the row, NULL when empty; two child rows a record
--     would cost three times as much. json_each() opens them where a query needs them.
--   * Addresses are BLOBs of 4 or 16 bytes, which compare and sort as addresses do.
-- Indexes stand on `document`, `report` and `arrival`, which have one row a report.
--
-- A closed word is stored as its one spelling (src/terms.rs). What a reporter wrote in its
-- place is stored as it came, bounded; what he left out is NULL. Nothing needs a code book,
-- and a text that a later version learns is read as the word that it is.
-- Times are UTC epoch seconds, days are days since the epoch, digests are SHA-256.

-- Every document that was ever counted or kept. These rows outlive their reports, so that what
-- retention deleted does not count again when somebody sends it again.
CREATE TABLE document (
    id         INTEGER PRIMARY KEY,
    kind       TEXT    NOT NULL,
    digest     BLOB    NOT NULL CHECK (length(digest) = 32),
    -- Digest over the fields of report::ReportKey: of one length, whatever a stranger wrote.
    key        BLOB    NOT NULL CHECK (length(key) = 32),
    first_seen INTEGER NOT NULL,
    -- What a duplicate is.
    UNIQUE (digest, kind)
) STRICT;

-- What a revision is: the key of an earlier document.
CREATE INDEX document_by_key ON document (key);

-- The head of an aggregate report.
CREATE TABLE report (
    id               INTEGER PRIMARY KEY REFERENCES document (id),
    -- 1: summed and shown. 0: another document came first with the same key; kept, never summed.
    current          INTEGER NOT NULL CHECK (current IN (0, 1)),
    -- The configured domain that it was counted under, and the one that it names.
    domain           TEXT    NOT NULL,
    policy_domain    TEXT    NOT NULL,
    range_begin      INTEGER NOT NULL,
    range_end        INTEGER NOT NULL,
    version          TEXT    NOT NULL,
    org_name         TEXT    NOT NULL,
    email            TEXT    NOT NULL,
    extra_contact    TEXT    NOT NULL,
    report_id        TEXT    NOT NULL,
    generator        TEXT    NOT NULL,
    -- JSON array of texts, NULL when empty; so are the notes.
    errors           TEXT,
    p                TEXT,
    sp               TEXT,
    np               TEXT,
    adkim            TEXT,
    aspf             TEXT,
    pct              INTEGER,
    fo               TEXT    NOT NULL,
    testing          TEXT,
    discovery_method TEXT,
    records          INTEGER NOT NULL,
    skipped_records  INTEGER NOT NULL,
    messages         INTEGER NOT NULL,
    notes            TEXT,
    parser_version   INTEGER NOT NULL,
    -- Digest of the mail in the archive, under the day of document.first_seen.
    archive          BLOB    CHECK (length(archive) = 32)
) STRICT;

CREATE INDEX report_by_domain ON report (domain, range_begin);
CREATE INDEX report_revised ON report (domain) WHERE current = 0;

CREATE TABLE record (
    report        INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    source_ip     BLOB    NOT NULL,
    count         INTEGER NOT NULL,
    disposition   TEXT,
    dkim          TEXT,
    spf           TEXT,
    header_from   TEXT    NOT NULL,
    -- NULL: not stated. Empty: stated, the null sender.
    envelope_from TEXT,
    envelope_to   TEXT,
    -- [[type, comment], ...]
    reasons       TEXT,
    -- [[domain, selector, result, human_result], ...]
    dkim_auth     TEXT,
    -- [[domain, scope, result, human_result], ...]
    spf_auth      TEXT,
    PRIMARY KEY (report, seq)
) STRICT, WITHOUT ROWID;

-- The spool files whose mails were processed. A spool that was set aside starts its ids anew
-- under a new name.
CREATE TABLE spool (
    id   INTEGER PRIMARY KEY,
    node TEXT NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (node, name)
) STRICT;

-- What became of each part of each mail. Its key makes work that is redone record nothing new.
CREATE TABLE arrival (
    spool     INTEGER NOT NULL REFERENCES spool (id),
    spool_id  INTEGER NOT NULL,
    part      TEXT    NOT NULL,
    outcome   TEXT    NOT NULL,
    -- NULL when parked.
    document  INTEGER REFERENCES document (id),
    -- Of what was parked.
    rejection TEXT,
    at_byte   INTEGER,
    arrived   INTEGER NOT NULL,
    door      TEXT    NOT NULL,
    client    BLOB,
    sender    TEXT    NOT NULL,
    recipient TEXT    NOT NULL,
    PRIMARY KEY (spool, spool_id, part)
) STRICT, WITHOUT ROWID;

CREATE INDEX arrival_by_document ON arrival (document) WHERE document IS NOT NULL;

-- Messages of current reports by the day of range_begin and by result; '' where a report does
-- not state it or says something outside the closed set.
CREATE TABLE rollup (
    day           INTEGER NOT NULL,
    domain        TEXT    NOT NULL,
    policy_domain TEXT    NOT NULL,
    disposition   TEXT    NOT NULL,
    dkim          TEXT    NOT NULL,
    spf           TEXT    NOT NULL,
    -- Follows from dkim and spf; here so that no query has to know how.
    dmarc         TEXT    NOT NULL,
    messages      INTEGER NOT NULL,
    PRIMARY KEY (day, domain, policy_domain, disposition, dkim, spf)
) STRICT, WITHOUT ROWID;
