-- The read model: everything the API may see, derived from the canonical log and rebuilt from it
-- at will. Money and magnitudes are integers in the contracts' units; shares of one are in 1e-12
-- (ppt); times are seconds since the Unix epoch; `position` is always the canonical position.
-- History tables hold one row a change: the state as of position P is, for each key, the row with
-- the largest position <= P. Rows with `is_provisional` rest on blocks that are not final.

CREATE SCHEMA read_model;

-- One row: what the tables below are a projection of.
CREATE TABLE read_model.checkpoint (
    only_row           boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- Storage position up to which events are reflected here.
    storage_position   bigint NOT NULL,
    canonical_position bigint NOT NULL,
    canonical_hash     bytea  NOT NULL,
    -- How often ratings were made anew because older facts arrived.
    revision           integer NOT NULL,
    methodology_hash   bytea  NOT NULL,
    updated_at         timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE read_model.chains (
    chain_id         bigint PRIMARY KEY,
    -- Last block ingested, final or not.
    head_number      bigint NOT NULL,
    finalized_number bigint,
    finalized_time   bigint,
    -- Chain logs kept because nobody knows their topic.
    unmapped_logs    bigint NOT NULL DEFAULT 0,
    updated_at       timestamptz NOT NULL DEFAULT now()
);

-- Each block with canonical facts: how a block or a time becomes a position.
CREATE TABLE read_model.blocks (
    chain_id       bigint NOT NULL,
    number         bigint NOT NULL,
    hash           bytea  NOT NULL,
    time           bigint NOT NULL,
    -- Position of the block's last fact, and the canonical hash there.
    last_position  bigint NOT NULL UNIQUE,
    canonical_hash bytea  NOT NULL,
    PRIMARY KEY (chain_id, number)
);
CREATE INDEX blocks_by_time ON read_model.blocks (time, last_position);
CREATE INDEX blocks_by_hash ON read_model.blocks (hash);

-- Everything that can carry a rating.
CREATE TABLE read_model.entities (
    id              bigint PRIMARY KEY,
    chain_id        bigint   NOT NULL,
    -- 1 operator, 2 AVS, 3 operator set, 4 LRT.
    kind            smallint NOT NULL,
    -- An operator set carries the address of its AVS.
    address         bytea    NOT NULL,
    operator_set_id bigint   NOT NULL,
    slug            text     NOT NULL UNIQUE,
    -- Key of the rating in the oracle contract.
    key             bytea    NOT NULL UNIQUE,
    first_position  bigint   NOT NULL,
    first_block     bigint   NOT NULL,
    first_time      bigint   NOT NULL,
    UNIQUE (chain_id, kind, address, operator_set_id)
);

-- What was found, once however often it is found again: a rating without its place and time.
CREATE TABLE read_model.assessments (
    -- Hash of entity and verdict.
    hash               bytea    PRIMARY KEY,
    -- 1 AAA .. 19 CCC-, 20 D; NULL is NR, and then the reason says why.
    grade              smallint,
    not_rated_reason   text,
    -- Milli-notch, 0 (AAA) to 18000 (CCC-), 19000 (D); lower is safer.
    score              integer,
    expected_loss_ppt  bigint,
    -- 90 % interval and the grade at its 80th percentile (the worse of it and the headline).
    low_ppt            bigint,
    high_ppt           bigint,
    best_grade         smallint,
    worst_grade        smallint,
    conservative_grade smallint,
    -- Parts per million.
    coverage_ppm       integer  NOT NULL,
    sufficiency_ppm    integer  NOT NULL,
    -- -1 negative, 0 stable, 1 positive.
    outlook            smallint NOT NULL,
    is_watch_negative  boolean  NOT NULL,
    -- Loss blocks and caps: [{"block","class","hazardPpt","severityPpt","exposurePpt",
    -- "expectedLossPpt","points","provenance"}], points summing to the score.
    attribution        jsonb    NOT NULL,
    -- {"summary","drivers":[…],"raise":[…],"lower":[…],"rests_on":[…],"warnings":[…]}: generated sentences.
    rationale          jsonb    NOT NULL,
    -- Hash of the methodology and the loss blocks, in canonical bytes: the whole loss distribution
    -- follows of them. NULL where there are none, and of a token, whose distribution stands with
    -- its backing.
    blocks             bytea
);

-- When it was found: one row an assessment that changed something or was reported.
CREATE TABLE read_model.rating_points (
    entity_id       bigint NOT NULL,
    position        bigint NOT NULL,
    -- The block assessed; `block_time` is never later than the block's own time.
    block_number    bigint NOT NULL,
    block_time      bigint NOT NULL,
    assessment_hash bytea  NOT NULL,
    -- Set where this was an action or a heartbeat: the contract's word and counter.
    seq             bigint,
    word            bytea,
    PRIMARY KEY (entity_id, position)
);
CREATE INDEX rating_points_by_position ON read_model.rating_points (position, entity_id);

CREATE VIEW read_model.ratings AS
    SELECT p.entity_id, p.position, p.block_number, p.block_time, a.grade, a.not_rated_reason,
           a.score, a.expected_loss_ppt, a.low_ppt, a.high_ppt, a.best_grade, a.worst_grade,
           a.conservative_grade, a.coverage_ppm, a.sufficiency_ppm, a.outlook,
           a.is_watch_negative, a.attribution, a.rationale, p.assessment_hash, p.seq, p.word
    FROM read_model.rating_points p JOIN read_model.assessments a ON a.hash = p.assessment_hash;

-- What we said and when: one row a rating action, of every revision.
CREATE TABLE read_model.rating_actions (
    -- Storage position of the action itself.
    storage_position  bigint PRIMARY KEY,
    revision          integer  NOT NULL,
    entity_id         bigint   NOT NULL,
    -- 1 assigned, 2 affirmed, 3 upgraded, 4 downgraded, 5 withdrawn.
    kind              smallint NOT NULL,
    from_grade        smallint,
    to_grade          smallint,
    position          bigint   NOT NULL,
    block_number      bigint   NOT NULL,
    block_time        bigint   NOT NULL,
    expected_loss_ppt bigint   NOT NULL,
    seq               bigint   NOT NULL,
    word              bytea    NOT NULL,
    recorded_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX rating_actions_by_entity ON read_model.rating_actions (entity_id, position);
-- What had been said of an entity by some moment: the last in storage order.
CREATE INDEX rating_actions_as_said ON read_model.rating_actions (entity_id, storage_position);

CREATE TABLE read_model.slashing_events (
    position          bigint,
    is_provisional    boolean NOT NULL,
    chain_id          bigint  NOT NULL,
    block_number      bigint  NOT NULL,
    block_time        bigint  NOT NULL,
    block_hash        bytea   NOT NULL,
    tx_hash           bytea   NOT NULL,
    log_index         bigint  NOT NULL,
    operator          bytea   NOT NULL,
    avs               bytea   NOT NULL,
    operator_set_id   bigint  NOT NULL,
    strategies        bytea[] NOT NULL,
    -- Share of the operator's whole stake before the slash, 1e-18.
    wad_slashed       numeric(78, 0)[] NOT NULL,
    -- Share of the allocation slashed, 1e-18; NULL where the log holds no state before the slash,
    -- and then `wad_slashed` is a lower bound.
    allocation_slashed numeric(78, 0)[] NOT NULL,
    -- Who receives what was slashed; NULL: it is burnt.
    redistribution_recipient bytea,
    -- Number of the incident (methodology §2.2) this slash belongs to: the position of its first.
    incident          bigint,
    -- Written by a stranger; escaped for display.
    description       text    NOT NULL,
    PRIMARY KEY (chain_id, block_hash, log_index)
);
CREATE INDEX slashing_events_by_position ON read_model.slashing_events (position);

-- What a slash took, in shares, as it comes into escrow and leaves it again: burnt or handed over.
CREATE TABLE read_model.slashed_shares (
    chain_id        bigint  NOT NULL,
    avs             bytea   NOT NULL,
    operator_set_id bigint  NOT NULL,
    -- The slash's number within the set.
    slash_id        numeric(78, 0) NOT NULL,
    strategy        bytea   NOT NULL,
    position        bigint  PRIMARY KEY,
    block_number    bigint  NOT NULL,
    tx_hash         bytea   NOT NULL,
    log_index       bigint  NOT NULL,
    -- Positive: taken. Negative: gone.
    shares_delta    numeric(79, 0) NOT NULL
);
CREATE INDEX slashed_shares_by_slash
    ON read_model.slashed_shares (chain_id, avs, operator_set_id, slash_id);
CREATE INDEX slashed_shares_by_tx ON read_model.slashed_shares (tx_hash);

CREATE TABLE read_model.operator_shares (
    chain_id       bigint  NOT NULL,
    operator       bytea   NOT NULL,
    strategy       bytea   NOT NULL,
    position       bigint  NOT NULL,
    block_number   bigint  NOT NULL,
    block_time     bigint  NOT NULL,
    shares         numeric(78, 0) NOT NULL,
    PRIMARY KEY (chain_id, operator, strategy, position)
);

-- EigenPods.
CREATE TABLE read_model.pods (
    chain_id     bigint NOT NULL,
    pod          bytea  NOT NULL,
    owner        bytea  NOT NULL,
    position     bigint NOT NULL,
    block_number bigint NOT NULL,
    PRIMARY KEY (chain_id, pod, position)
);

-- To whom a pod's owner delegates: one row a change, from the pod's deployment on.
CREATE TABLE read_model.pod_delegations (
    chain_id bigint NOT NULL,
    owner    bytea  NOT NULL,
    position bigint NOT NULL,
    operator bytea,
    PRIMARY KEY (chain_id, owner, position)
);

-- Which validator is whose, and how that is known: one row a proof.
CREATE TABLE read_model.validators (
    chain_id        bigint NOT NULL,
    position        bigint NOT NULL,
    block_number    bigint NOT NULL,
    pod             bytea  NOT NULL,
    -- Either may be missing: pods named validators by index to v1.5.0 and by key since.
    validator_index bigint,
    pubkey_hash     bytea,
    -- `ValidatorRestaked`: the pod proved the withdrawal credentials on chain. `credentials`: the
    -- beacon state after the validator was slashed states them.
    provenance      text   NOT NULL,
    PRIMARY KEY (position)
);
CREATE INDEX validators_by_pod ON read_model.validators (chain_id, pod);

-- The operator of each validator now, by the delegation of its pod's owner.
CREATE VIEW read_model.validator_operators AS
    SELECT v.chain_id, v.validator_index, v.pubkey_hash, v.provenance, v.position, v.pod, p.owner,
           d.operator, d.position AS delegated_at
    FROM read_model.validators v
    CROSS JOIN LATERAL (SELECT owner FROM read_model.pods p
        WHERE p.chain_id = v.chain_id AND p.pod = v.pod ORDER BY p.position DESC LIMIT 1) p
    LEFT JOIN LATERAL (SELECT operator, position FROM read_model.pod_delegations d
        WHERE d.chain_id = v.chain_id AND d.owner = p.owner
        ORDER BY d.position DESC LIMIT 1) d ON true;

-- Beacon slashings of validators of EigenPods, with the operator of that moment.
CREATE TABLE read_model.validator_slashings (
    position               bigint  PRIMARY KEY,
    chain_id               bigint  NOT NULL,
    block_number           bigint  NOT NULL,
    block_time             bigint  NOT NULL,
    slot                   bigint  NOT NULL,
    validator_index        bigint  NOT NULL,
    pubkey_hash            bytea   NOT NULL,
    pod                    bytea   NOT NULL,
    owner                  bytea   NOT NULL,
    operator               bytea,
    effective_balance_gwei bigint  NOT NULL,
    -- Slashings of one operator within 8,192 epochs count once: validators in this incident so far.
    incident_validators    bigint
);
CREATE INDEX validator_slashings_by_operator
    ON read_model.validator_slashings (chain_id, operator, position);

CREATE TABLE read_model.operators (
    chain_id            bigint NOT NULL,
    operator            bytea  NOT NULL,
    position            bigint NOT NULL,
    block_number        bigint NOT NULL,
    delegation_approver bytea,
    -- Written by a stranger; escaped for display.
    metadata_uri        text,
    allocation_delay_blocks bigint,
    -- A delay announced but not yet in force.
    pending_allocation_delay_blocks bigint,
    pending_allocation_delay_effect_block bigint,
    PRIMARY KEY (chain_id, operator, position)
);

CREATE TABLE read_model.avss (
    chain_id     bigint NOT NULL,
    avs          bytea  NOT NULL,
    position     bigint NOT NULL,
    block_number bigint NOT NULL,
    -- Written by a stranger; escaped for display.
    metadata_uri text,
    registrar    bytea,
    PRIMARY KEY (chain_id, avs, position)
);

-- Metadata documents as last recorded: what strangers say they are called. Written beside the
-- events, not by the projection of the canonical log.
CREATE TABLE read_model.documents (
    -- As it is shown in `metadata_uri`.
    uri      text   PRIMARY KEY,
    -- Storage position of the event.
    position bigint NOT NULL,
    -- SHA-256 of the document.
    hash     bytea  NOT NULL,
    -- Both escaped for display.
    name     text   NOT NULL,
    website  text
);

-- What was asked of contracts and accounts, as events of Assay's own record it.
CREATE TABLE read_model.observations (
    chain_id     bigint  NOT NULL,
    block_number bigint  NOT NULL,
    block_hash   bytea   NOT NULL,
    block_time   bigint  NOT NULL,
    -- What the list of questions calls it, and whom it asked.
    name         text    NOT NULL,
    subject      bytea   NOT NULL,
    -- Whether it was proven against the state root of the block; else nodes said so.
    is_proven    boolean NOT NULL,
    -- Figures as decimal text.
    said         jsonb   NOT NULL,
    PRIMARY KEY (chain_id, block_hash, name)
);
CREATE INDEX observations_by_subject ON read_model.observations (chain_id, subject);

-- The metadata URI that each operator (kind 1) and AVS (kind 2) names now.
CREATE VIEW read_model.metadata_uris AS
    (SELECT DISTINCT ON (chain_id, operator) chain_id, 1::smallint AS kind, operator AS address,
            metadata_uri FROM read_model.operators
      ORDER BY chain_id, operator, position DESC)
    UNION ALL
    (SELECT DISTINCT ON (chain_id, avs) chain_id, 2::smallint, avs, metadata_uri
       FROM read_model.avss ORDER BY chain_id, avs, position DESC);

-- What each of them is called, by the document it names.
CREATE VIEW read_model.names AS
    SELECT u.chain_id, u.kind, u.address, d.name, d.website, d.hash, d.position
    FROM read_model.metadata_uris u JOIN read_model.documents d ON d.uri = u.metadata_uri;

CREATE TABLE read_model.operator_sets (
    chain_id        bigint  NOT NULL,
    avs             bytea   NOT NULL,
    operator_set_id bigint  NOT NULL,
    position        bigint  NOT NULL,
    block_number    bigint  NOT NULL,
    slasher         bytea,
    pending_slasher bytea,
    pending_slasher_effect_block bigint,
    redistribution_recipient bytea,
    strategies      bytea[] NOT NULL,
    PRIMARY KEY (chain_id, avs, operator_set_id, position)
);

CREATE TABLE read_model.memberships (
    chain_id        bigint  NOT NULL,
    operator        bytea   NOT NULL,
    avs             bytea   NOT NULL,
    operator_set_id bigint  NOT NULL,
    position        bigint  NOT NULL,
    block_number    bigint  NOT NULL,
    is_member       boolean NOT NULL,
    -- Last block at which a former member can still be slashed.
    slashable_until bigint,
    PRIMARY KEY (chain_id, operator, avs, operator_set_id, position)
);
CREATE INDEX memberships_by_set
    ON read_model.memberships (chain_id, avs, operator_set_id, operator, position);

CREATE TABLE read_model.allocations (
    chain_id          bigint NOT NULL,
    operator          bytea  NOT NULL,
    avs               bytea  NOT NULL,
    operator_set_id   bigint NOT NULL,
    strategy          bytea  NOT NULL,
    position          bigint NOT NULL,
    block_number      bigint NOT NULL,
    -- Magnitudes, 1e-18. NULL: no event in the log says.
    current_magnitude numeric(20, 0) NOT NULL,
    pending_magnitude numeric(20, 0),
    effect_block      bigint,
    max_magnitude     numeric(20, 0),
    PRIMARY KEY (chain_id, operator, avs, operator_set_id, strategy, position)
);
CREATE INDEX allocations_by_set
    ON read_model.allocations (chain_id, avs, operator_set_id, operator, strategy, position);

-- What a liquid restaking token is worth: one row a change.
CREATE TABLE read_model.lrt_rates (
    chain_id     bigint  NOT NULL,
    token        bytea   NOT NULL,
    position     bigint  NOT NULL,
    block_number bigint  NOT NULL,
    block_time   bigint  NOT NULL,
    -- Wei of ether a whole token.
    rate         numeric(78, 0) NOT NULL,
    -- Whether the protocol said so; else it follows from what was minted.
    is_stated    boolean NOT NULL,
    -- All that holders own by what the protocol states, wei; NULL: it does not state it.
    total_assets numeric(78, 0),
    PRIMARY KEY (chain_id, token, position)
);

-- What stands behind a liquid restaking token: one row an assessment of one.
CREATE TABLE read_model.lrt_assessments (
    -- Hash of the assessment.
    hash   bytea PRIMARY KEY,
    -- Net asset value, wei.
    nav    numeric(78, 0) NOT NULL,
    -- Reserve, liquidity, run and the whole loss distribution; figures as decimal text.
    detail jsonb NOT NULL
);

-- The same looked through: positions sum to the net asset value to the wei.
CREATE TABLE read_model.lrt_positions (
    hash            bytea    NOT NULL,
    ordinal         bigint   NOT NULL,
    -- 1 slashable, 2 unallocated, 3 undelegated, 4 exiting, 5 buffer, 6 stated and not seen.
    place           smallint NOT NULL,
    operator        bytea,
    avs             bytea,
    operator_set_id bigint,
    strategy        bytea,
    value           numeric(78, 0) NOT NULL,
    PRIMARY KEY (hash, ordinal)
);

-- Signed claims, from the position at which they count: one row each, whatever became of it.
CREATE TABLE read_model.attestations (
    -- EIP-712 digest.
    digest          bytea    PRIMARY KEY,
    position        bigint   NOT NULL UNIQUE,
    chain_id        bigint   NOT NULL,
    block_number    bigint   NOT NULL,
    block_time      bigint   NOT NULL,
    -- Rows of entities that it is about: none of the price of a strategy.
    subjects        bigint[] NOT NULL,
    -- Name of the claim's type, as it is signed.
    claim           text     NOT NULL,
    -- [["path", "value"]]: what is claimed, in the words of whoever signed it.
    details         jsonb    NOT NULL,
    -- 0 self-claim, 1 signed by a third party, 2 verified remotely, 3 verified on chain.
    level           smallint NOT NULL,
    evidence        bytea    NOT NULL,
    signer          bytea    NOT NULL,
    observed_at     bigint   NOT NULL,
    effective_block bigint   NOT NULL,
    expires_at      bigint   NOT NULL
);
CREATE INDEX attestations_by_subject ON read_model.attestations USING gin (subjects);

-- What became of them: one row a change. That one expires, its own row says.
CREATE TABLE read_model.attestation_standings (
    digest   bytea    NOT NULL,
    position bigint   NOT NULL,
    -- 1 verified, 2 claimed, 3 superseded, 4 revoked, 5 signer not entitled.
    standing smallint NOT NULL,
    PRIMARY KEY (digest, position)
);

-- Who can change the contracts that hold slashing power: upgrades, Safes, timelocks.
CREATE TABLE read_model.governance_changes (
    position     bigint   PRIMARY KEY,
    chain_id     bigint   NOT NULL,
    block_number bigint   NOT NULL,
    block_time   bigint   NOT NULL,
    tx_hash      bytea    NOT NULL,
    contract     bytea    NOT NULL,
    -- The event's number: 180 code, 181 delay, 182 owner added, 183 owner removed, 184 threshold,
    -- 185 admin, 186 module, 187 call scheduled, 188 call executed, 189 operation cancelled.
    kind         smallint NOT NULL,
    -- The new code, owner, admin or module, or what is called.
    party        bytea,
    -- Signatures, or seconds.
    value        numeric(78, 0),
    -- Of a timelock's call: what its schedule, execution and cancellation share.
    operation    bytea,
    -- From when on a scheduled call can run, seconds since the Unix epoch; null: never.
    executable_at bigint,
    -- Whether it puts anybody on watch.
    opens_watch  boolean  NOT NULL,
    -- Rows of sets (at most a hundred), AVSs and tokens whose stake the contract had a say in.
    subjects     bigint[] NOT NULL
);
CREATE INDEX governance_changes_by_subject ON read_model.governance_changes USING gin (subjects);

-- What was published where; written by the projection of the outbox, and of the contract's own
-- logs once they are final.
CREATE TABLE read_model.publications (
    oracle_chain_id bigint NOT NULL,
    oracle          bytea  NOT NULL,
    entity_key      bytea  NOT NULL,
    seq             bigint NOT NULL,
    -- The word as it was signed; the contract fills in `lag`.
    word            bytea  NOT NULL,
    tx_hash         bytea  NOT NULL,
    block_number    bigint NOT NULL,
    -- included, final or reorged.
    status          text   NOT NULL,
    -- Whether the contract's own log of it is in the event store.
    is_recorded     boolean NOT NULL DEFAULT false,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    -- Earlier transactions, which this one replaced at a higher fee.
    replaced_tx_hashes bytea[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (oracle_chain_id, oracle, entity_key, seq)
);
-- The key starts with the oracle; a rating asks in which oracles it stands.
CREATE INDEX publications_by_entity ON read_model.publications (entity_key, seq);

-- What subscribers are told, in the order in which it was committed. Gapless, one writer at a time
-- (the log's append lock): a place here is a place to resume from. Only ever grows: it outlives
-- the rows it names when the tables above are written anew.
CREATE TABLE read_model.feed (
    position    bigint   PRIMARY KEY CHECK (position > 0),
    -- 1 rating action, 2 slash, 3 publication, 4 publication that has grown stale.
    kind        smallint NOT NULL,
    -- Its key, in words: `9` (storage position), `chain:block hash:log index`,
    -- `chain:oracle:entity key:seq` (of both kinds).
    subject     text     NOT NULL,
    -- Of a publication: its status then. Of a slash: provisional, final or reverted. Else empty.
    status      text     NOT NULL DEFAULT '',
    recorded_at timestamptz NOT NULL DEFAULT now()
);
-- A slash or a publication may be seen, taken back and seen again: that is told each time.
CREATE UNIQUE INDEX feed_once ON read_model.feed (subject) WHERE kind = 1;
CREATE UNIQUE INDEX feed_stale_once ON read_model.feed (subject) WHERE kind = 4;
CREATE INDEX feed_of_slashes ON read_model.feed (subject, position) WHERE kind = 2;

-- How far each webhook has been told, by its name in the operator's file.
CREATE TABLE read_model.webhooks (
    name          text        PRIMARY KEY,
    -- Line of the feed up to which its receiver has taken everything.
    position      bigint      NOT NULL,
    -- When it last took something.
    delivered_at  timestamptz,
    -- Since when it takes nothing; NULL: all is well.
    failing_since timestamptz
);

CREATE FUNCTION read_model.tell_of_feed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM added) THEN
        PERFORM pg_notify('assay_feed', '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER feed_is_told AFTER INSERT ON read_model.feed REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION read_model.tell_of_feed();
