-- The outbox: what is due on chain, what was signed, what was sent, what came of it.

CREATE SCHEMA outbox;

-- Written in the transaction that decides the rating; a report is for ever.
CREATE TABLE outbox.reports (
    -- Key of the rating in the oracle contract.
    entity_key         bytea  NOT NULL,
    -- The entity's counter, global over chains.
    seq                bigint NOT NULL,
    -- The word to sign, `lag` zero.
    word               bytea  NOT NULL,
    canonical_position bigint NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (entity_key, seq)
);
