-- The outbox: what is due on chain, what was signed, what was sent, what came of it.
-- Order of writing, each in a transaction of its own, is the whole protocol: report, batch,
-- signature promise, signatures, nonce with raw transaction, broadcast, inclusion, outcome.
-- A crash between any two of them loses nothing, because each says what must follow.

CREATE SCHEMA outbox;

CREATE FUNCTION outbox.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'outbox.% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- Written in the transaction that decides the rating; a report is for ever. Every report is here,
-- also one that was superseded at once: nodes must find the same at each position.
CREATE TABLE outbox.reports (
    -- Key of the rating in the oracle contract.
    entity_key         bytea  NOT NULL CHECK (octet_length(entity_key) = 32),
    -- The entity's counter, global over chains.
    seq                bigint NOT NULL CHECK (seq BETWEEN 1 AND 4294967295),
    -- The word to sign, `lag` zero.
    word               bytea  NOT NULL CHECK (octet_length(word) = 32),
    canonical_position bigint NOT NULL CHECK (canonical_position > 0),
    created_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (entity_key, seq)
);
-- A batch holds what was decided at one position.
CREATE INDEX reports_by_position ON outbox.reports (canonical_position, entity_key);
CREATE TRIGGER reports_are_never_changed BEFORE UPDATE OR DELETE ON outbox.reports
    FOR EACH ROW EXECUTE FUNCTION outbox.refuse_change();

-- Reports that no key will ever sign: the word does not fit the contract, or contradicts a word
-- signed before. Each is a fault to look into; without this row it would block its batch for ever.
CREATE TABLE outbox.refusals (
    entity_key bytea  NOT NULL,
    seq        bigint NOT NULL,
    -- The refusal in words, as the guard gave it.
    reason     text   NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (entity_key, seq),
    FOREIGN KEY (entity_key, seq) REFERENCES outbox.reports
);

-- Sign once: the promise that `signer` signs no other word under this number. Committed before
-- the signature exists. Roles get INSERT and SELECT; nobody gets UPDATE, DELETE or TRUNCATE, and
-- the triggers hold even for the owner. Losing this table may convict an honest signer: restore
-- it before a key signs again.
CREATE TABLE outbox.signatures (
    signer     bytea  NOT NULL CHECK (octet_length(signer) = 20),
    entity_key bytea  NOT NULL CHECK (octet_length(entity_key) = 32),
    seq        bigint NOT NULL CHECK (seq BETWEEN 1 AND 4294967295),
    word       bytea  NOT NULL CHECK (octet_length(word) = 32),
    promised_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (signer, entity_key, seq)
);
CREATE TRIGGER signatures_are_never_changed BEFORE UPDATE OR DELETE ON outbox.signatures
    FOR EACH ROW EXECUTE FUNCTION outbox.refuse_change();
CREATE TRIGGER signatures_are_never_truncated BEFORE TRUNCATE ON outbox.signatures
    FOR EACH STATEMENT EXECUTE FUNCTION outbox.refuse_change();

-- Contracts that ratings were published to.
CREATE TABLE outbox.oracles (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id     bigint NOT NULL CHECK (chain_id > 0),
    -- Hash of block 0: a development chain started anew keeps its number and even the contract's
    -- address, but holds none of the ratings.
    genesis_hash bytea  NOT NULL CHECK (octet_length(genesis_hash) = 32),
    address      bytea  NOT NULL CHECK (octet_length(address) = 20),
    registered_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (chain_id, genesis_hash, address)
);

-- The next unused nonce of each gas key. Raised in the transaction that stores the raw bytes, so
-- every number below `next` belongs to stored bytes or was used by somebody else.
CREATE TABLE outbox.nonces (
    chain_id     bigint NOT NULL,
    genesis_hash bytea  NOT NULL,
    sender       bytea  NOT NULL CHECK (octet_length(sender) = 20),
    next         bigint NOT NULL CHECK (next >= 0),
    PRIMARY KEY (chain_id, genesis_hash, sender)
);

-- One batch is one message to sign and one nonce to spend.
CREATE TABLE outbox.batches (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    oracle_id   integer NOT NULL REFERENCES outbox.oracles,
    -- What is signed: RatingBatch(root, count, epoch, deadline).
    root        bytea   NOT NULL CHECK (octet_length(root) = 32),
    count       integer NOT NULL CHECK (count BETWEEN 1 AND 100),
    epoch       bigint  NOT NULL CHECK (epoch BETWEEN 1 AND 4294967295),
    -- Seconds since the Unix epoch; 40 bits.
    deadline    bigint  NOT NULL CHECK (deadline BETWEEN 1 AND 1099511627775),
    -- See `submission.rs`.
    phase       text    NOT NULL DEFAULT 'due'
        CHECK (phase IN ('due', 'signed', 'sent', 'included', 'final', 'abandoned')),
    -- Which signers of the epoch signed, bit by bit, and their EIP-2098 signatures in that order.
    bitmap      bytea   CHECK (octet_length(bitmap) = 32),
    signatures  bytea   CHECK (octet_length(signatures) > 0 AND octet_length(signatures) % 64 = 0),
    -- The account slot this batch spends; every attempt of the batch carries it.
    sender      bytea   CHECK (octet_length(sender) = 20),
    nonce       bigint  CHECK (nonce >= 0),
    -- How many attempts are stored, what the newest is for, and the head when it was stored: a
    -- transaction that waits too long from there gets a higher fee.
    attempts    integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    intent      text    NOT NULL DEFAULT 'publish' CHECK (intent IN ('publish', 'cancel')),
    since_block bigint  NOT NULL DEFAULT 0,
    -- Where the nonce was spent, as last seen, and whether the ratings were taken.
    block_number bigint,
    block_hash  bytea   CHECK (octet_length(block_hash) = 32),
    landing     text    CHECK (landing IN ('stored', 'reverted', 'cancelled')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (oracle_id, sender, nonce),
    CHECK ((bitmap IS NULL) = (signatures IS NULL)),
    CHECK ((sender IS NULL) = (nonce IS NULL)),
    CHECK (phase NOT IN ('signed', 'sent', 'included', 'final') OR signatures IS NOT NULL),
    CHECK (phase NOT IN ('sent', 'included', 'final') OR (nonce IS NOT NULL AND attempts > 0)),
    CHECK ((phase IN ('included', 'final'))
        = (block_number IS NOT NULL AND block_hash IS NOT NULL AND landing IS NOT NULL))
);
-- The loop asks for these at every turn; nearly all batches are closed.
CREATE INDEX batches_open ON outbox.batches (oracle_id, id)
    WHERE phase NOT IN ('final', 'abandoned');

CREATE TABLE outbox.batch_members (
    batch_id   bigint  NOT NULL REFERENCES outbox.batches,
    oracle_id  integer NOT NULL REFERENCES outbox.oracles,
    entity_key bytea   NOT NULL,
    seq        bigint  NOT NULL,
    -- NULL: in flight. rated: the contract took this very word. passed: it held a newer one.
    -- refused: it skipped the word for good. released: it does not have it; due again.
    outcome    text    CHECK (outcome IN ('rated', 'passed', 'refused', 'released')),
    -- Chain time before which a released report is not tried again (the contract's dwell).
    retry_at   bigint,
    -- One rating an entity, because the members are sorted by entity.
    PRIMARY KEY (batch_id, entity_key),
    FOREIGN KEY (entity_key, seq) REFERENCES outbox.reports,
    CHECK (retry_at IS NULL OR outcome = 'released')
);
-- A report is in one batch at a time: no two workers can bring it twice.
CREATE UNIQUE INDEX batch_members_in_flight_once
    ON outbox.batch_members (oracle_id, entity_key, seq) WHERE outcome IS NULL;
CREATE INDEX batch_members_by_entity ON outbox.batch_members (oracle_id, entity_key, seq);

-- Raw transactions, stored before they are sent, so that after a crash the same bytes go out again
-- and no nonce is spent twice.
CREATE TABLE outbox.tx_attempts (
    -- Unique in a batch only: a development chain started anew may get the very same transaction.
    tx_hash     bytea   NOT NULL CHECK (octet_length(tx_hash) = 32),
    batch_id    bigint  NOT NULL REFERENCES outbox.batches,
    -- 1 first; each further one replaces the one before at a higher fee.
    attempt     integer NOT NULL CHECK (attempt > 0),
    -- publish: the batch. cancel: nothing, to spend the nonce of a batch that has expired.
    intent      text    NOT NULL CHECK (intent IN ('publish', 'cancel')),
    raw         bytea   NOT NULL CHECK (octet_length(raw) > 0),
    gas_limit   bigint  NOT NULL CHECK (gas_limit >= 21000),
    max_fee_wei bigint  NOT NULL CHECK (max_fee_wei > 0),
    tip_wei     bigint  NOT NULL CHECK (tip_wei >= 0 AND tip_wei <= max_fee_wei),
    stored_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (batch_id, attempt),
    UNIQUE (batch_id, tx_hash)
);
CREATE INDEX tx_attempts_by_time ON outbox.tx_attempts (stored_at);
CREATE TRIGGER tx_attempts_are_never_changed BEFORE UPDATE OR DELETE ON outbox.tx_attempts
    FOR EACH ROW EXECUTE FUNCTION outbox.refuse_change();
