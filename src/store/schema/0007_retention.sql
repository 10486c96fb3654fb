-- What retention needs to know of time, and what is not to be read again.

-- One row: the newest time that was believed, and since when and until when another is doubted.
-- UTC epoch seconds.
CREATE TABLE clock (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    believed INTEGER NOT NULL,
    since    INTEGER,
    latest   INTEGER
) STRICT;

-- Reports of an older parser that this version of it could not read again, and how often it tried:
-- their mail is gone, or does not hold them any more, or reading it ended the program.
CREATE TABLE reread (
    report         INTEGER PRIMARY KEY,
    parser_version INTEGER NOT NULL,
    tries          INTEGER NOT NULL
) STRICT;
