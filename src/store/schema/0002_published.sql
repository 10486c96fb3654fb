-- What the DNS said about our domains, and what is amiss.
-- Times are UTC epoch seconds; words are those of src/terms.rs.

-- One row for a time during which the same answer was seen again and again. An answer that was
-- not confirmed for too long starts a row of its own, so that a row covers no unwatched time.
CREATE TABLE published (
    id         INTEGER PRIMARY KEY,
    domain     TEXT    NOT NULL,
    -- found, nodata or nxdomain.
    outcome    TEXT    NOT NULL,
    -- JSON array, one text for one TXT record; each character is one byte of it (Latin-1), as
    -- TXT records hold any bytes.
    texts      TEXT    NOT NULL,
    -- The largest that came with it.
    ttl        INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL
) STRICT;

CREATE INDEX published_by_domain ON published (domain, id);

-- Lookups that said nothing. They end no row of `published` and close no finding.
CREATE TABLE unanswered (
    domain       TEXT    PRIMARY KEY,
    last_unknown INTEGER NOT NULL,
    -- Why the last one said nothing.
    trouble      TEXT    NOT NULL,
    -- In a row, 0 after the next answer that says something.
    count        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE finding (
    id         INTEGER PRIMARY KEY,
    -- The configured domain, and who opens and closes the finding.
    domain     TEXT    NOT NULL,
    source     TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    severity   TEXT    NOT NULL,
    -- The domain whose record it is about.
    subject    TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    -- NULL: open.
    closed_at  INTEGER
) STRICT;

-- A finding is open once.
CREATE UNIQUE INDEX finding_open ON finding (domain, source, kind, severity, subject)
    WHERE closed_at IS NULL;
CREATE INDEX finding_by_domain ON finding (domain, closed_at);
