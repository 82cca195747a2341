-- 1,000 operators with 100 ratings each, every tenth one an action; checkpoint, blocks and chain as
-- the rater would leave them.
\set ON_ERROR_STOP on
INSERT INTO read_model.checkpoint VALUES
    (true, 200000, 100000, sha256('head'), 0, sha256('methodology'));
INSERT INTO read_model.chains VALUES (1, 20100000, 20099900, 1731200000, 0);
INSERT INTO read_model.blocks
SELECT 1, 20000000 + n, sha256(('block' || n)::bytea), 1730000000 + 12 * n, n,
       sha256(('canonical' || n)::bytea) FROM generate_series(1, 100000) n;
INSERT INTO read_model.entities
SELECT n, 1, 1, decode(lpad(to_hex(n), 40, '0'), 'hex'), 0,
       'operator-1-0x' || lpad(to_hex(n), 40, '0'), sha256(('entity' || n)::bytea), n,
       20000000 + n, 1730000000 + 12 * n FROM generate_series(1, 1000) n;
INSERT INTO read_model.assessments
SELECT sha256((e || ' ' || r)::bytea), 1 + (e * 7 + r) % 19, NULL, 900 * (1 + (e * 7 + r) % 19),
       1000000007::bigint * (1 + (e * 7 + r) % 19), 10000000, 900000000000, 1, 19,
       1 + (e * 7 + r) % 19, 420000, 500000, (r % 3) - 1, r % 2 = 0,
       jsonb_build_array(jsonb_build_object('block', 'C1 set 3', 'class', 'C1', 'hazardPpt',
           '15400000000', 'severityPpt', '280000000000', 'exposurePpt', '1000000000000',
           'expectedLossPpt', '4312000000', 'points', 900 * (1 + (e * 7 + r) % 19),
           'provenance', 'log')),
       '{"summary": "Some.", "drivers": ["C1"], "raise": [], "lower": [], "rests_on": ["the log"]}'
  FROM generate_series(1, 1000) e, generate_series(1, 100) r;
INSERT INTO read_model.rating_points
SELECT e, 1000 * (r - 1) + e, 20000000 + 1000 * (r - 1) + e,
       1730000000 + 12 * (1000 * (r - 1) + e), sha256((e || ' ' || r)::bytea),
       CASE WHEN r % 10 = 1 THEN r / 10 + 1 END,
       CASE WHEN r % 10 = 1 THEN sha256((e || ' word ' || r)::bytea) END
  FROM generate_series(1, 1000) e, generate_series(1, 100) r;
INSERT INTO read_model.rating_actions
SELECT 100000 + p.position, 0, p.entity_id, CASE WHEN p.seq = 1 THEN 1 ELSE 4 END, NULL, a.grade,
       p.position, p.block_number, p.block_time, a.expected_loss_ppt, p.seq, p.word,
       to_timestamp(p.block_time + 60)
  FROM read_model.rating_points p JOIN read_model.assessments a ON a.hash = p.assessment_hash
 WHERE p.seq IS NOT NULL;
-- What PostGraphile needs to see the same shapes: relations, and the newest rating of each entity.
ALTER TABLE read_model.rating_points ADD FOREIGN KEY (entity_id) REFERENCES read_model.entities;
ALTER TABLE read_model.rating_points ADD FOREIGN KEY (assessment_hash) REFERENCES read_model.assessments;
ALTER TABLE read_model.rating_actions ADD FOREIGN KEY (entity_id) REFERENCES read_model.entities;
CREATE VIEW read_model.leaderboard AS
    SELECT e.slug, r.* FROM read_model.entities e CROSS JOIN LATERAL
        (SELECT * FROM read_model.ratings r WHERE r.entity_id = e.id
          ORDER BY r.position DESC LIMIT 1) r;
VACUUM ANALYZE;
