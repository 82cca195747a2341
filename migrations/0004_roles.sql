-- Three roles, so that the database itself keeps the API from writing and the signer from
-- reading anything but its outbox. Roles belong to the cluster, not to the database: they may be
-- there already, another database may be making them at this moment, and a managed Postgres may
-- not allow them at all. In the last case everything runs with the rights of the login.

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['assay_writer', 'assay_reader', 'assay_oracle'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
            -- A superuser takes any role; any other login must be a member.
            IF NOT pg_has_role(current_user, wanted, 'MEMBER') THEN
                EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
            END IF;
        EXCEPTION
            -- Another database was faster; the last is "tuple concurrently updated".
            WHEN duplicate_object OR unique_violation OR internal_error THEN
                NULL;
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'role % can not be made or taken by %: its rights are not separated',
                    wanted, current_user;
        END;
    END LOOP;
END $$;

DO $$
DECLARE
    made text[];
    grants text[] := ARRAY[
        -- Appends; never changes. The tables beside the events are a cache of them.
        'assay_writer', 'USAGE ON SCHEMA event_store',
        'assay_writer', 'SELECT, INSERT ON event_store.events',
        'assay_writer', 'SELECT, INSERT, UPDATE, DELETE ON event_store.cursors',
        'assay_writer', 'SELECT, INSERT, UPDATE, DELETE ON event_store.headers',
        'assay_writer', 'SELECT, INSERT, UPDATE, DELETE ON event_store.orphans',
        -- Projects: rebuilds the read model at will, and says what is due.
        'assay_writer', 'USAGE ON SCHEMA read_model',
        'assay_writer', 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA read_model',
        'assay_writer', 'USAGE ON SCHEMA outbox',
        'assay_writer', 'INSERT ON outbox.reports',
        -- What became of the reports is projected from here.
        'assay_writer', 'SELECT ON ALL TABLES IN SCHEMA outbox',
        -- Answers questions.
        'assay_reader', 'USAGE ON SCHEMA read_model',
        'assay_reader', 'SELECT ON ALL TABLES IN SCHEMA read_model',
        -- Signs and transmits.
        'assay_oracle', 'USAGE ON SCHEMA outbox',
        'assay_oracle', 'SELECT ON ALL TABLES IN SCHEMA outbox'
    ];
    changed text;
BEGIN
    SELECT array_agg(rolname) INTO made FROM pg_roles
        WHERE rolname IN ('assay_writer', 'assay_reader', 'assay_oracle');
    FOR i IN 1 .. array_length(grants, 1) BY 2 LOOP
        IF grants[i] = ANY (made) THEN
            EXECUTE format('GRANT %s TO %I', grants[i + 1], grants[i]);
        END IF;
    END LOOP;
    IF 'assay_oracle' = ANY (made) THEN
        -- What was promised, stored or refused is for ever; only the course of things changes.
        -- Reports it reads alone: who signs must not be able to write what is to be signed.
        FOREACH changed IN ARRAY ARRAY['refusals', 'signatures', 'tx_attempts'] LOOP
            IF to_regclass('outbox.' || changed) IS NOT NULL THEN
                EXECUTE format('GRANT INSERT ON outbox.%I TO assay_oracle', changed);
            END IF;
        END LOOP;
        FOREACH changed IN ARRAY ARRAY['oracles', 'nonces', 'batches', 'batch_members'] LOOP
            IF to_regclass('outbox.' || changed) IS NOT NULL THEN
                EXECUTE format('GRANT INSERT, UPDATE ON outbox.%I TO assay_oracle', changed);
            END IF;
        END LOOP;
    END IF;
    -- Tables that later migrations add.
    IF 'assay_reader' = ANY (made) THEN
        ALTER DEFAULT PRIVILEGES IN SCHEMA read_model GRANT SELECT ON TABLES TO assay_reader;
    END IF;
    IF 'assay_writer' = ANY (made) THEN
        ALTER DEFAULT PRIVILEGES IN SCHEMA read_model
            GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO assay_writer;
    END IF;
END $$;
