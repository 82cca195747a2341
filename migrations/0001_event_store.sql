-- The event store: what happened, in the order in which we learned it. Nothing here is ever
-- changed or taken away; what a chain takes back is taken back by a further event.

CREATE SCHEMA event_store;

CREATE TABLE event_store.events (
    -- Storage position: gapless, in commit order. One writer at a time assigns max + 1.
    position     bigint   PRIMARY KEY CHECK (position > 0),
    chain_id     bigint   NOT NULL,
    block_number bigint   NOT NULL,
    -- Seconds since the Unix epoch.
    block_time   bigint   NOT NULL,
    log_index    bigint   NOT NULL,
    -- First byte of the payload: the event's type-and-version tag. 200 and up are our own.
    kind         smallint NOT NULL,
    block_hash   bytea    NOT NULL,
    tx_hash      bytea    NOT NULL,
    emitter      bytea    NOT NULL,
    -- Canonical bytes of the event (borsh of `assay_domain::Event`).
    payload      bytea    NOT NULL,
    -- SHA-256 over every column above but `position` and `kind`, then the previous row's hash:
    -- see `src/event_store/codec.rs`.
    hash         bytea    NOT NULL
);

-- A chain log is stored once, however often it is seen. The block number comes first so that the
-- index grows at its right edge; the hash implies it, so the key is (chain, block hash, log index).
CREATE UNIQUE INDEX events_chain_log_once
    ON event_store.events (chain_id, block_number, log_index, block_hash) WHERE kind < 200;

-- Assay's own events are few and looked up by kind: what is final, what is taken back, what was
-- rated.
CREATE INDEX events_own_by_kind ON event_store.events (kind, position) WHERE kind >= 200;

-- A signed message is recorded once; its digest is in the column of the transaction.
CREATE UNIQUE INDEX events_message_once ON event_store.events (tx_hash)
    WHERE kind >= 205 AND kind <= 219;

-- Contracts that others announced are looked up at every start: EigenPods, Symbiotic's, and those
-- that were given a say in what is slashed.
CREATE INDEX events_announcements ON event_store.events (chain_id, block_number)
    WHERE kind IN (35, 40, 41, 42, 70, 95, 130);

CREATE FUNCTION event_store.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'event_store.events is append-only: % refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER events_are_never_changed BEFORE UPDATE OR DELETE ON event_store.events
    FOR EACH ROW EXECUTE FUNCTION event_store.refuse_change();
CREATE TRIGGER events_are_never_truncated BEFORE TRUNCATE ON event_store.events
    FOR EACH STATEMENT EXECUTE FUNCTION event_store.refuse_change();

-- Where ingestion of each chain stands; written in the transaction that appends the blocks.
CREATE TABLE event_store.cursors (
    chain_id         bigint PRIMARY KEY,
    -- First block not yet ingested.
    next_block       bigint NOT NULL,
    finalized_number bigint,
    finalized_hash   bytea,
    finalized_time   bigint
);

-- Headers not yet final, to find the fork point after a reorg or a restart. Pruned at finality.
CREATE TABLE event_store.headers (
    chain_id    bigint NOT NULL,
    number      bigint NOT NULL,
    hash        bytea  NOT NULL,
    parent_hash bytea  NOT NULL,
    time        bigint NOT NULL,
    PRIMARY KEY (chain_id, number)
);

-- Blocks that are taken back at present: what BlocksReverted added and BlocksRestored removed.
CREATE TABLE event_store.orphans (
    chain_id   bigint NOT NULL,
    block_hash bytea  NOT NULL,
    PRIMARY KEY (chain_id, block_hash)
);
