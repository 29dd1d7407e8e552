-- What became of baselines: a row is added, and none is ever changed. A baseline is what its changes make of it (baseline/change.rs).

CREATE TABLE baseline_change (
    name TEXT NOT NULL,
    -- 1 began it.
    number BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    -- create, promote, renew, pin, unpin
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    author TEXT NOT NULL,
    environment TEXT NOT NULL,
    repository TEXT,
    -- Null: it does not renew itself.
    renew_after_s BIGINT,
    PRIMARY KEY (name, number)
);

-- By id and not by reference: what a baseline once consisted of is told also when those runs are gone.
CREATE TABLE baseline_run (
    name TEXT NOT NULL,
    number BIGINT NOT NULL,
    run_id TEXT NOT NULL,
    PRIMARY KEY (name, number, run_id),
    FOREIGN KEY (name, number) REFERENCES baseline_change (name, number)
);
