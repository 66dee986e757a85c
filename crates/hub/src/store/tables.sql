-- Columns are read by their place: never reorder, only append.
CREATE TABLE counter (serial INTEGER NOT NULL);
INSERT INTO counter VALUES (0);

CREATE TABLE intent (
    topic TEXT NOT NULL, callback TEXT NOT NULL, host TEXT NOT NULL, serial INTEGER NOT NULL, said TEXT NOT NULL,
    mode TEXT NOT NULL, secret BLOB, algorithm TEXT NOT NULL, lease_s INTEGER NOT NULL, token TEXT, reason TEXT NOT NULL,
    attempts INTEGER NOT NULL, since INTEGER NOT NULL, due INTEGER NOT NULL,
    PRIMARY KEY (topic, callback)
) WITHOUT ROWID;
CREATE INDEX intent_host ON intent (host);

CREATE TABLE subscription (
    topic TEXT NOT NULL, callback TEXT NOT NULL, host TEXT NOT NULL, said TEXT NOT NULL, secret BLOB, algorithm TEXT NOT NULL,
    since INTEGER NOT NULL, lease_end INTEGER NOT NULL, wanted INTEGER NOT NULL, delivered INTEGER NOT NULL, due INTEGER,
    attempts INTEGER NOT NULL, waiting_since INTEGER NOT NULL, delivered_at INTEGER NOT NULL, error TEXT,
    PRIMARY KEY (topic, callback)
) WITHOUT ROWID;
CREATE INDEX subscription_host ON subscription (host);
CREATE INDEX subscription_lease_end ON subscription (lease_end);
CREATE INDEX subscription_due ON subscription (due) WHERE due IS NOT NULL;

CREATE TABLE topic (
    url TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL, pings INTEGER NOT NULL, due INTEGER, attempts INTEGER NOT NULL,
    fetched_at INTEGER NOT NULL, error TEXT
) WITHOUT ROWID;

CREATE TABLE content (
    url TEXT NOT NULL PRIMARY KEY, media TEXT, etag TEXT, modified TEXT, hash BLOB NOT NULL, entries TEXT NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE letter (
    topic TEXT NOT NULL, callback TEXT NOT NULL, version INTEGER NOT NULL, attempts INTEGER NOT NULL, error TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (topic, callback)
) WITHOUT ROWID;
