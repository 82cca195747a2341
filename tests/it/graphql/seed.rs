//! A made-up record, written straight into the read model.
//!
//! Steps 1 to 10 each have a block on Ethereum and one on Holesky, at alternating positions:
//! step `i` on Ethereum is block `100 i` at position `10 i`, on Holesky block `7 i` at position
//! `10 i - 5`, ten minutes earlier. Every operator is assessed at each step, fifty blocks after
//! the facts of that step, as at the end of an epoch. Steps are four hours apart: six make a day.

use alloy::primitives::Address;
use assay_domain::{AvsId, EntityKind, OperatorId, OperatorSetId, RatedEntity};
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::{TestDatabase, database};

/// Time of step 0: 2024-03-26T00:00:00Z.
const GENESIS: i64 = 1_711_411_200;

/// The operator with this number. Number 0 is never rated.
pub(crate) fn operator(number: i64) -> RatedEntity {
    RatedEntity::operator(1, OperatorId(address(0x1000 + number)))
}

/// The only AVS.
pub(crate) fn avs() -> RatedEntity {
    RatedEntity::avs(1, AvsId(address(0xa)))
}

/// Its only operator set.
pub(crate) fn operator_set() -> RatedEntity {
    RatedEntity::operator_set(1, OperatorSetId { avs: AvsId(address(0xa)), id: 3 })
}

/// The operator on Holesky, of which only shares are known.
pub(crate) fn holesky_operator() -> RatedEntity {
    RatedEntity::operator(17_000, OperatorId(address(0x17)))
}

pub(crate) fn address(number: i64) -> Address {
    let mut bytes = [0_u8; 20];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    Address::from(bytes)
}

/// A database with that many operators, and a pool on it.
pub(crate) async fn world(operators: i64) -> (TestDatabase, PgPool) {
    let database = database().await;
    let pool = database.pool().await;
    let mut entities = vec![avs(), operator_set(), holesky_operator()];
    entities.push(RatedEntity {
        chain_id: 1,
        kind: EntityKind::Lrt,
        address: address(0x2),
        operator_set_id: 0,
    });
    entities.extend((0..operators).map(operator));
    insert_entities(&pool, &entities).await;
    for statement in RECORD {
        run(&pool, statement).await;
    }
    (database, pool)
}

/// Runs a statement of a test.
pub(crate) async fn run(pool: &PgPool, statement: &str) {
    let result = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(pool).await;
    result.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

async fn insert_entities(pool: &PgPool, entities: &[RatedEntity]) {
    for (index, entity) in entities.iter().enumerate() {
        sqlx::query(
            "INSERT INTO read_model.entities VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(i64::try_from(index).unwrap() + 1)
        .bind(i64::try_from(entity.chain_id).unwrap())
        .bind(i16::from(entity.kind.number()))
        .bind(entity.address.as_slice())
        .bind(i64::from(entity.operator_set_id))
        .bind(entity.to_string())
        .bind(entity.key().as_slice())
        .bind(5_i64)
        .bind(7_i64)
        .bind(GENESIS)
        .execute(pool)
        .await
        .expect("an entity");
    }
}

/// Lets the tests write a rating as one row: each gets an assessment of its own.
const WRITABLE_RATINGS: &str = "CREATE FUNCTION read_model.insert_rating() RETURNS trigger
    LANGUAGE plpgsql AS $$
    DECLARE made bytea := sha256((NEW.entity_id || ' ' || NEW.position)::bytea);
    BEGIN
        INSERT INTO read_model.assessments VALUES (made, NEW.grade, NEW.not_rated_reason,
            NEW.score, NEW.expected_loss_ppt, NEW.low_ppt, NEW.high_ppt, NEW.best_grade,
            NEW.worst_grade, NEW.conservative_grade, NEW.coverage_ppm, NEW.sufficiency_ppm,
            NEW.outlook, NEW.is_watch_negative, NEW.attribution, NEW.rationale);
        INSERT INTO read_model.rating_points VALUES (NEW.entity_id, NEW.position,
            NEW.block_number, NEW.block_time, made, NEW.seq, NEW.word);
        RETURN NEW;
    END $$;
    CREATE TRIGGER ratings_are_two_rows INSTEAD OF INSERT ON read_model.ratings
        FOR EACH ROW EXECUTE FUNCTION read_model.insert_rating()";

const RECORD: &[&str] = &[
    WRITABLE_RATINGS,
    "INSERT INTO read_model.checkpoint VALUES (true, 900, 100, decode(repeat('c1', 32), 'hex'), 1,
        decode(repeat('3e', 32), 'hex'))",
    "INSERT INTO read_model.chains VALUES
        (1, 1100, 1060, 1711411200 + 14400 * 10 + 720, 4),
        (17000, 70, 70, 1711411200 + 14400 * 10 - 600, 0)",
    "INSERT INTO read_model.blocks
     SELECT 1, 100 * i, decode(lpad(to_hex(i), 64, '0'), 'hex'), 1711411200 + 14400 * i, 10 * i,
            decode(repeat('c0', 32), 'hex') FROM generate_series(1, 10) i
     UNION ALL
     SELECT 17000, 7 * i, decode(lpad(to_hex(i), 64, 'a'), 'hex'), 1711411200 + 14400 * i - 600,
            10 * i - 5, decode(repeat('c0', 32), 'hex') FROM generate_series(1, 10) i",
    RATINGS,
    ACTIONS,
    "INSERT INTO read_model.slashing_events
     SELECT CASE WHEN i <= 10 THEN 10 * i END, i > 10, 1, 100 * i, 1711411200 + 14400 * i,
            decode(lpad(to_hex(i), 64, '0'), 'hex'), decode(repeat('77', 32), 'hex'), 4,
            decode(lpad(to_hex(4096 + i % 3), 40, '0'), 'hex'),
            decode(lpad('a', 40, '0'), 'hex'), 3,
            ARRAY[decode(lpad('5a', 40, '0'), 'hex'), decode(lpad('5b', 40, '0'), 'hex')],
            ARRAY[100000000000000000, 1], ARRAY[500000000000000000, NULL],
            CASE WHEN i % 2 = 0 THEN decode(lpad('dead', 40, '0'), 'hex') END,
            CASE WHEN i <= 10 THEN 20 END, 'Join us at \\u{202e}example'
       FROM generate_series(2, 11) i",
    "INSERT INTO read_model.operator_shares
     SELECT 1, e.address, decode(lpad(s, 40, '0'), 'hex'), 10 * i, 100 * i,
            1711411200 + 14400 * i, 1000000000000000000000::numeric * i + e.id
       FROM (SELECT * FROM read_model.entities WHERE kind = 1 AND chain_id = 1) e,
            unnest(ARRAY['5a', '5b']) s, generate_series(1, 10, 3) i
     UNION ALL
     SELECT 17000, e.address, decode(lpad('5c', 40, '0'), 'hex'), 10 * i - 5, 7 * i,
            1711411200 + 14400 * i - 600, 100 * i
       FROM (SELECT * FROM read_model.entities WHERE chain_id = 17000) e,
            generate_series(1, 10) i",
    "INSERT INTO read_model.operators
     SELECT 1, address, 10 * i, 100 * i, decode(repeat('00', 20), 'hex'), 'ipfs://x', 10 - i,
            100 * i, 100 * i + 50
       FROM read_model.entities, generate_series(1, 2) i WHERE kind = 1 AND chain_id = 1",
    "INSERT INTO read_model.avss SELECT 1, address, 10, 100, 'https://avs.example', address
       FROM read_model.entities WHERE kind = 2",
    "INSERT INTO read_model.operator_sets
     SELECT 1, address, operator_set_id, 10 * i, 100 * i, address, NULL, NULL,
            CASE WHEN i = 2 THEN address END, ARRAY[address]
       FROM read_model.entities, generate_series(1, 2) i WHERE kind = 3",
    "INSERT INTO read_model.memberships
     SELECT 1, o.address, s.address, s.operator_set_id, 10 * i, 100 * i, i = 1,
            CASE WHEN i = 2 THEN 900 END
       FROM read_model.entities o, read_model.entities s, generate_series(1, 2) i
      WHERE o.kind = 1 AND o.chain_id = 1 AND s.kind = 3 AND (i = 1 OR o.id % 2 = 0)",
    "INSERT INTO read_model.allocations
     SELECT 1, o.address, s.address, s.operator_set_id, decode(lpad('5a', 40, '0'), 'hex'), 10 * i,
            100 * i, 100000000000000000 * i, CASE WHEN i = 2 THEN 1 END,
            CASE WHEN i = 2 THEN 999 END, 1000000000000000000
       FROM read_model.entities o, read_model.entities s, generate_series(1, 2) i
      WHERE o.kind = 1 AND o.chain_id = 1 AND s.kind = 3",
    "INSERT INTO read_model.attestations
     SELECT sha256(i::text::bytea), 10 * i, 1, 100 * i, 1711411200 + 14400 * i,
            (SELECT array_agg(id) FROM read_model.entities WHERE kind = 1), 'UptimeAttested',
            '[[\"uptime\", \"990000000000\"]]', i % 4, sha256('evidence'),
            decode(repeat('51', 20), 'hex'), 1711411200, 100 * i, 1711411200 + 14400 * (i + 2)
       FROM generate_series(1, 10) i",
    "INSERT INTO read_model.attestation_standings
     SELECT sha256(i::text::bytea), 10 * i, 1 + i % 2 FROM generate_series(1, 10) i
     UNION ALL SELECT sha256('1'), 20, 4",
    "INSERT INTO read_model.governance_changes
     SELECT 10 * i, 1, 100 * i, 1711411200 + 14400 * i, decode(repeat('77', 32), 'hex'),
            decode(repeat('5a', 20), 'hex'), 180 + i % 10, decode(repeat('5b', 20), 'hex'), i,
            decode(repeat('5c', 32), 'hex'), 1711411200 + 86400 * i, i % 2 = 0,
            coalesce((SELECT array_agg(id) FROM read_model.entities WHERE kind = 3 AND i > 4), '{}')
       FROM generate_series(1, 10) i",
    "INSERT INTO read_model.publications
     SELECT 1, decode(repeat('0c', 20), 'hex'), e.key, a.seq, a.word,
            decode(repeat('88', 32), 'hex'), 2000 + a.seq,
            CASE a.seq WHEN 1 THEN 'final' ELSE 'included' END
       FROM read_model.rating_actions a JOIN read_model.entities e ON e.id = a.entity_id",
];

/// Grades wander with operator and step; operator 0 has none; the first loss block has 400 points.
const RATINGS: &str = "INSERT INTO read_model.ratings
    SELECT e.id, 10 * i, 100 * i + 50, 1711411200 + 14400 * i + 600,
           CASE WHEN n > 0 THEN g.grade END, CASE WHEN n = 0 THEN 'coverage below 25 %' END,
           CASE WHEN n > 0 THEN g.grade * 900 END,
           CASE WHEN n > 0 THEN g.grade * 1000000007::bigint END,
           CASE WHEN n > 0 THEN g.grade * 10 END, CASE WHEN n > 0 THEN g.grade * 9000000000 END,
           CASE WHEN n > 0 THEN g.grade END, CASE WHEN n > 0 THEN g.grade + 1 END,
           CASE WHEN n > 0 THEN g.grade + 1 END, 420000, 50000 * (n % 3)::integer, (n % 3) - 1,
           n % 2 = 0,
           CASE WHEN n = 0 THEN '[]'::jsonb ELSE jsonb_build_array(
               jsonb_build_object('block', 'C1 set 3', 'class', 'C1', 'hazardPpt', 15400000000,
                   'severityPpt', 280000000000, 'exposurePpt', 1000000000000,
                   'expectedLossPpt', g.grade * 1000000000::bigint, 'points', 400,
                   'provenance', 'prior'),
               jsonb_build_object('block', 'C4 set 3', 'class', 'C4', 'hazardPpt', 1,
                   'severityPpt', 2, 'exposurePpt', 3, 'expectedLossPpt', g.grade * 7,
                   'points', g.grade * 900 - 400, 'provenance', 'log')) END,
           '{\"summary\": \"Some.\", \"drivers\": [\"C1\"], \"raise\": [], \"lower\": [\"C4\"],
             \"rests_on\": [\"the log\"]}',
           decode(repeat('aa', 32), 'hex'), CASE WHEN i IN (1, 5) THEN (i + 3) / 4 END,
           CASE WHEN i IN (1, 5) THEN decode(repeat('00', 22), 'hex')
               || decode(lpad(to_hex(g.grade * 900), 4, '0'), 'hex')
               || decode(repeat('00', 8), 'hex') END
      FROM (SELECT *, id - 5 AS n FROM read_model.entities WHERE kind = 1 AND chain_id = 1) e,
           generate_series(1, 10) i,
           LATERAL (SELECT (1 + (n * 7 + i) % 18)::integer AS grade) g";

/// Steps 1 and 5 were also actions, said at 2026-01-01T01:00Z and T05:00Z. The first action of
/// operator 1 was of a rating that has been made anew since: its word differs.
const ACTIONS: &str = "INSERT INTO read_model.rating_actions
    SELECT 200 + r.entity_id * 10 + r.seq, 0, r.entity_id,
           CASE r.seq WHEN 1 THEN 1 ELSE 4 END,
           CASE r.seq WHEN 1 THEN NULL ELSE 1 END, r.grade, r.position, r.block_number,
           r.block_time, r.expected_loss_ppt, r.seq,
           CASE WHEN r.entity_id = 6 AND r.seq = 1
                THEN overlay(r.word PLACING '\\x1388' FROM 23 FOR 2) ELSE r.word END,
           '2026-01-01T00:00:00Z'::timestamptz + r.position * interval '6 minutes'
      FROM read_model.ratings r WHERE r.seq IS NOT NULL AND r.grade IS NOT NULL";
