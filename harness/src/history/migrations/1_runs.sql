-- Of both SQLite and PostgreSQL: TEXT, BIGINT and DOUBLE PRECISION are types of both, and other types are not used.
-- Times are microseconds since 1970, UTC. A run's number is made of its id, so that nothing has to be counted (history/write.rs).

CREATE TABLE environment (
    digest TEXT NOT NULL PRIMARY KEY,
    facts TEXT NOT NULL
);

CREATE TABLE run (
    number BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    started_us BIGINT NOT NULL,
    source TEXT NOT NULL,
    version TEXT,
    verdict TEXT,
    -- Why its figures are of less than was to be measured.
    incomplete TEXT,
    environment TEXT NOT NULL REFERENCES environment (digest),
    repository TEXT,
    commit_hash TEXT,
    branch TEXT,
    author_us BIGINT,
    subject TEXT,
    -- 0: as committed; 1: with changes that nobody has committed.
    dirty BIGINT
);
CREATE INDEX run_started ON run (started_us);
CREATE INDEX run_commit ON run (commit_hash);

CREATE TABLE label (
    label TEXT NOT NULL,
    run BIGINT NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    PRIMARY KEY (label, run)
);
CREATE INDEX label_run ON label (run);

-- Apart from the runs, which are read more often than their documents.
CREATE TABLE document (
    run BIGINT NOT NULL PRIMARY KEY REFERENCES run (number) ON DELETE CASCADE,
    json TEXT NOT NULL
);

CREATE TABLE series (
    number BIGINT NOT NULL PRIMARY KEY,
    -- A workload or a stage; empty: the whole run.
    workload TEXT NOT NULL,
    -- Empty: all operations.
    operation TEXT NOT NULL,
    metric TEXT NOT NULL,
    unit TEXT NOT NULL,
    -- lower or higher
    better TEXT NOT NULL,
    UNIQUE (workload, operation, metric)
);

CREATE TABLE figure (
    series BIGINT NOT NULL REFERENCES series (number),
    run BIGINT NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    value DOUBLE PRECISION NOT NULL,
    -- How many observations it comes from, where that is known.
    observations BIGINT,
    PRIMARY KEY (series, run)
);
CREATE INDEX figure_run ON figure (run);

CREATE TABLE histogram (
    run BIGINT NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    workload TEXT NOT NULL,
    operation TEXT NOT NULL,
    -- HdrHistogram V2, compressed, base64, nanoseconds: as in an HDR log.
    hdr TEXT NOT NULL,
    PRIMARY KEY (run, workload, operation)
);
