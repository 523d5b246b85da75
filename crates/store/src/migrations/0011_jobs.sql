-- Jobs: work on many devices or modules. A later job has a larger number.
CREATE TABLE job (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    type         INTEGER NOT NULL,            -- 0 scheduleUpdateTwin, 1 scheduleDeviceMethod
    phase        INTEGER NOT NULL,            -- 0 waiting, 1 selecting, 2 running, 3 completed, 4 failed, 5 cancelled
    created      INTEGER NOT NULL,            -- milliseconds since 1970, like all times here
    start        INTEGER NOT NULL,
    deadline     INTEGER NOT NULL,
    ended        INTEGER,
    failure      TEXT,
    holder       TEXT    NOT NULL DEFAULT '', -- the node that works on it; '' if its lease is free
    fence        INTEGER NOT NULL DEFAULT 0,
    lease_expiry INTEGER NOT NULL DEFAULT 0,
    -- The numbers of its rows in job_device by state, updated by triggers.
    pending      INTEGER NOT NULL DEFAULT 0,
    waiting      INTEGER NOT NULL DEFAULT 0,
    running      INTEGER NOT NULL DEFAULT 0,
    completed    INTEGER NOT NULL DEFAULT 0,
    failed       INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX job_with_work ON job (number) WHERE phase < 3 OR running > 0;
CREATE INDEX ended_job ON job (ended) WHERE ended IS NOT NULL;

-- The large parts of a job, which never change: so the numbers above can be updated without writing them again.
CREATE TABLE job_text (
    number    INTEGER PRIMARY KEY REFERENCES job ON DELETE CASCADE,
    condition TEXT    NOT NULL,
    action    TEXT    NOT NULL                -- a JSON object: the method call or the change of the twin
) STRICT;

-- What a job did on each of its devices and modules. The identity may have been deleted since.
CREATE TABLE job_device (
    job           INTEGER NOT NULL REFERENCES job ON DELETE CASCADE,
    device_id     TEXT    NOT NULL,
    module_id     TEXT    NOT NULL,           -- '' is the device itself
    generation_id TEXT    NOT NULL,
    state         INTEGER NOT NULL,           -- 0 pending, 1 waiting, 2 running, 3 completed, 4 failed
    updated       INTEGER NOT NULL,
    status        INTEGER,                    -- the answer of the device
    payload       TEXT,                       -- JSON
    error         TEXT,                       -- the name of the error
    description   TEXT,
    PRIMARY KEY (job, device_id, module_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_of_device ON job_device (device_id, module_id, job);
CREATE INDEX open_job_device ON job_device (job, device_id, module_id) WHERE state < 2;

CREATE TRIGGER job_device_added AFTER INSERT ON job_device
BEGIN UPDATE job SET pending = pending + 1 WHERE number = NEW.job; END;

-- Rows of old jobs are removed before their job, whose numbers stay until then.
CREATE TRIGGER job_device_changed AFTER UPDATE OF state ON job_device WHEN NEW.state <> OLD.state
BEGIN
    UPDATE job SET
        pending   = pending   + (NEW.state = 0) - (OLD.state = 0),
        waiting   = waiting   + (NEW.state = 1) - (OLD.state = 1),
        running   = running   + (NEW.state = 2) - (OLD.state = 2),
        completed = completed + (NEW.state = 3) - (OLD.state = 3),
        failed    = failed    + (NEW.state = 4) - (OLD.state = 4)
    WHERE number = NEW.job;
END;
