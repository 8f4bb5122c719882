-- One file is one stream. What a column means is said in README.md, "The database".
CREATE TABLE stream (
    source TEXT NOT NULL,
    page_size INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    promo_version TEXT NOT NULL,
    created_at TEXT NOT NULL,
    settings TEXT NOT NULL
) STRICT;
-- INT, not INTEGER: so rowid stays free to count the order of arrival.
CREATE TABLE data (
    id INT PRIMARY KEY NOT NULL,
    network_ability REAL NOT NULL,
    competence REAL NOT NULL,
    promoted INTEGER NOT NULL CHECK (promoted IN (0, 1))
) STRICT;
CREATE TABLE page (
    page INTEGER PRIMARY KEY,
    received INTEGER NOT NULL,
    inserted INTEGER NOT NULL,
    duplicate INTEGER NOT NULL,
    conflicting INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    first_id INTEGER,
    last_id INTEGER,
    digest TEXT NOT NULL,
    committed_at TEXT NOT NULL,
    CHECK (received = inserted + duplicate + conflicting + rejected)
) STRICT;
CREATE TABLE model (
    name TEXT PRIMARY KEY,
    page INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    state TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
-- The next three keep the newest page and a history. Unless the newest is one of those that stay,
-- the next page is written over it, by rowid: a key of page and names would take twice as long. So
-- lines stand in the order of pages.
CREATE TABLE coefficient (
    model TEXT NOT NULL,
    term TEXT NOT NULL,
    page INTEGER NOT NULL,
    estimate REAL,
    std_error REAL,
    statistic REAL,
    p_value REAL,
    ci_low REAL,
    ci_high REAL,
    av_p_value REAL,
    av_low REAL,
    av_high REAL,
    hc1_std_error REAL
) STRICT;
CREATE TABLE metric (
    model TEXT NOT NULL,
    name TEXT NOT NULL,
    page INTEGER NOT NULL,
    value REAL
) STRICT;
CREATE TABLE checkpoint (
    page INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    states TEXT NOT NULL
) STRICT;
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    page INTEGER NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE TABLE quarantine (
    page INTEGER NOT NULL,
    position INTEGER NOT NULL,
    reason TEXT NOT NULL,
    raw TEXT NOT NULL,
    PRIMARY KEY (page, position)
) STRICT, WITHOUT ROWID;
