-- Lookups that said nothing, run by run, in place of the last one alone: a history without them would
-- call a time unwatched in which we asked. They end no row of `published` and close no finding.
CREATE TABLE no_answer (
    id         INTEGER PRIMARY KEY,
    domain     TEXT    NOT NULL,
    -- Why the last one said nothing.
    trouble    TEXT    NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    lookups    INTEGER NOT NULL,
    -- 1: the next one that says nothing belongs to it.
    goes_on    INTEGER NOT NULL CHECK (goes_on IN (0, 1))
) STRICT;

CREATE INDEX no_answer_by_domain ON no_answer (domain, id);
CREATE UNIQUE INDEX no_answer_goes_on ON no_answer (domain) WHERE goes_on = 1;

-- When the run began was not kept.
INSERT INTO no_answer (domain, trouble, first_seen, last_seen, lookups, goes_on)
    SELECT domain, trouble, last_unknown, last_unknown, max(count, 1), count > 0 FROM unanswered;
DROP TABLE unanswered;
