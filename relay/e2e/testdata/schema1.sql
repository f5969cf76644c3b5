-- The statements of the relay whose outbox schema is version 1, recorded while it ran. They have to work on every newer
-- schema, as that relay runs beside it while a deployment rolls, and after it is rolled back.

-- name: remove dead letters
DELETE FROM outbox_dead_letters
	WHERE position = ANY (ARRAY(
	SELECT d.position FROM outbox_dead_letters d, relay_checkpoints c
	WHERE c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $3) AND d.outbox_table = $4
	  AND d.state IN ('redriven', 'discarded') AND d.updated_at < now() - $5::interval
	ORDER BY d.position LIMIT $6));

-- name: park
INSERT INTO outbox_dead_letters AS d
	(event_id, outbox_table, destination, message_group, blocks_group, code, reason, attempts, event, state)
	SELECT $4, $5, $6, $7, $8::boolean, $9, $10, $11::integer, $12::json,
	CASE WHEN $8::boolean AND $9 = 'BlockedGroup' AND (
		SELECT bool_and(o.state = 'redriving') FROM outbox_dead_letters o
		WHERE o.outbox_table = $5 AND o.destination = $6 AND o.message_group = $7 AND o.blocks_group AND o.state IN ('parked', 'redriving')
	) THEN 'redriving' ELSE 'parked' END
	FROM relay_checkpoints c WHERE c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $3)
	ON CONFLICT (outbox_table, event_id, destination) DO UPDATE SET event_id = d.event_id;

-- name: begin replay
INSERT INTO outbox_replays AS r (seqs, since, until, aggregate_type, aggregate_id, slot_name, outbox_table, horizon,
		last_seq, passed_seq, events, rate)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8::pg_snapshot, $9, $10, $11, $12) RETURNING r.id, r.seqs, r.since, r.until, r.aggregate_type, r.aggregate_id, r.horizon::text, r.last_seq, r.rate, r.events,
	r.passed_seq, r.sent, r.refused, r.last_refusal, r.state;

-- name: create checkpoint
INSERT INTO relay_checkpoints
		(slot_name, outbox_table, epoch, system_identifier, flush_lsn, horizon, publication_fingerprint,
		 recover_from, recover_to, recover_since)
	VALUES ($1, $2, 1, $3, nullif($4::pg_lsn, '0/0'), nullif($5, '')::pg_snapshot, nullif($6, ''),
		nullif($7, '')::pg_snapshot, nullif($8, '')::pg_snapshot, nullif($9, '')::timestamptz)
	ON CONFLICT (slot_name) DO NOTHING;

-- name: plan replay
SELECT CASE
			WHEN pg_visible_in_snapshot(e."xid", $7::pg_snapshot) IS NOT TRUE THEN 'undelivered'
			WHEN EXISTS (
	SELECT FROM outbox_dead_letters d
	WHERE d.outbox_table = $6 AND d.event_id = coalesce(e."id"::text, 'seq:' || e."seq") AND d.state IN ('parked', 'redriving')) THEN 'parked'
			ELSE 'selected' END AS fate,
		coalesce(e."event_type"::text, ''), coalesce(e."aggregate_type"::text, ''), count(*), min(e."seq"), max(e."seq"),
		coalesce(min(e."created_at")::text, ''), coalesce(max(e."created_at")::text, '')
	FROM "public"."outbox_events" e WHERE ($1::bigint[] IS NULL OR e."seq" = ANY ($1))
	AND ($2::timestamptz IS NULL OR e."created_at" >= $2) AND ($3::timestamptz IS NULL OR e."created_at" < $3)
	AND ($4::text IS NULL OR coalesce(e."aggregate_type"::text, '') = $4) AND ($5::text IS NULL OR coalesce(e."aggregate_id"::text, '') = $5) GROUP BY 1, 2, 3 ORDER BY 4 DESC, 2, 3;

-- name: blocked groups
SELECT DISTINCT ON (destination, message_group) destination, message_group, event_id
	FROM outbox_dead_letters
	WHERE outbox_table = $1 AND blocks_group AND state IN ('parked', 'redriving')
	ORDER BY destination, message_group, position;

-- name: is blocked
SELECT EXISTS (SELECT FROM outbox_dead_letters
	WHERE destination = $1 AND message_group = $2 AND blocks_group AND state IN ('parked', 'redriving') AND outbox_table = $3);

-- name: is redriving
SELECT EXISTS (SELECT FROM outbox_dead_letters WHERE position = $1 AND state = 'redriving' AND updated_at = $2);

-- name: observe
SELECT EXISTS (SELECT FROM relay_checkpoints c WHERE c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $3)),
	       pg_current_snapshot()::text, pg_current_wal_insert_lsn(),
	(SELECT coalesce(string_agg(concat_ws(':', p.oid, p.xmin, r.oid, r.xmin, n.oid, n.xmin, t.oid), ',' ORDER BY p.oid), '')
	 FROM pg_class t
	 JOIN pg_publication p ON p.pubname = $4
	 LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = t.oid
	 LEFT JOIN pg_publication_namespace n ON n.pnpubid = p.oid AND n.pnnspid = t.relnamespace
	 WHERE t.oid = to_regclass($5) AND p.pubinsert AND (p.puballtables OR r.oid IS NOT NULL OR n.oid IS NOT NULL)
	   AND r.prqual IS NULL AND (p.pubviaroot OR t.relkind <> 'p' AND NOT t.relispartition)),
	       coalesce(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), s.confirmed_flush_lsn), 0)::bigint,
	       coalesce(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), s.restart_lsn), 0)::bigint,
	       coalesce(s.safe_wal_size, -1), pg_size_bytes(current_setting('max_slot_wal_keep_size')), coalesce(s.wal_status, '')
	FROM (SELECT) AS one LEFT JOIN pg_replication_slots s ON s.slot_name = $1;

-- name: load checkpoint
SELECT c.slot_name, c.outbox_table, c.epoch, c.system_identifier,
	coalesce(c.flush_lsn, '0/0'), coalesce(c.tx_commit_lsn, '0/0'), coalesce(c.tx_delivered, 0), coalesce(c.tx_last_event_id, ''),
	coalesce(c.recovered_seq, 0), coalesce(c.horizon::text, ''), coalesce(c.publication_fingerprint, ''),
	coalesce(c.recover_from::text, ''), coalesce(c.recover_to::text, ''), coalesce(c.recover_since::text, ''), c.updated_at FROM relay_checkpoints c WHERE c.slot_name = $1;

-- name: count dead letters
SELECT count(*) FROM outbox_dead_letters WHERE state IN ('parked', 'redriving');

-- name: redriving
SELECT position, blocks_group, updated_at, redrives, event_id, event FROM outbox_dead_letters
	WHERE outbox_table = $1 AND destination = $2 AND state = 'redriving' ORDER BY position LIMIT $3;

-- name: list dead letters
SELECT position, state, event_id, destination, message_group, blocks_group, code, reason, attempts, redrives, parked_at, event
	FROM outbox_dead_letters WHERE
	(cardinality($1::bigint[]) = 0 OR position = ANY ($1)) AND ($2 = '' OR event_id = $2) AND ($3 = '' OR destination = $3)
	AND ($4 = '' OR message_group = $4) AND ($5 = '' OR code = $5) AND (cardinality($6::text[]) = 0 OR state = ANY ($6)) ORDER BY position LIMIT nullif($7, 0);

-- name: mark redriving
UPDATE outbox_dead_letters SET state = 'redriving', redrives = redrives + 1, updated_at = clock_timestamp()
	WHERE state = 'parked' AND
	(cardinality($1::bigint[]) = 0 OR position = ANY ($1)) AND ($2 = '' OR event_id = $2) AND ($3 = '' OR destination = $3)
	AND ($4 = '' OR message_group = $4) AND ($5 = '' OR code = $5) AND (cardinality($6::text[]) = 0 OR state = ANY ($6));

-- name: park again
UPDATE outbox_dead_letters d SET state = 'parked', updated_at = clock_timestamp(),
		code = CASE WHEN d.position = $4 THEN $5 ELSE d.code END,
		reason = CASE WHEN d.position = $4 THEN $6 ELSE d.reason END,
		attempts = d.attempts + CASE WHEN d.position = $4 THEN $7::integer ELSE 0 END
	FROM relay_checkpoints c
	WHERE d.state = 'redriving' AND (d.position = $4 OR
			$8::boolean AND d.blocks_group AND d.outbox_table = $11 AND d.destination = $9 AND d.message_group = $10)
		AND c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $3);

-- name: resume replay
UPDATE outbox_replays SET state = 'running', rate = coalesce(nullif($3::integer, 0), rate), updated_at = clock_timestamp()
	WHERE slot_name = $1 AND id = $2 AND state <> 'done';

-- name: stop replay
UPDATE outbox_replays SET state = 'stopped', updated_at = clock_timestamp()
	WHERE slot_name = $1 AND id = $2 AND state = 'running';

-- name: replay passed
UPDATE outbox_replays r SET passed_seq = $5, sent = r.sent + $6::bigint, refused = r.refused + $7::bigint,
	last_refusal = coalesce(nullif($8, ''), r.last_refusal), updated_at = clock_timestamp() FROM relay_checkpoints c
	WHERE r.id = $4 AND r.slot_name = c.slot_name AND c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $3) RETURNING r.id, r.seqs, r.since, r.until, r.aggregate_type, r.aggregate_id, r.horizon::text, r.last_seq, r.rate, r.events,
	r.passed_seq, r.sent, r.refused, r.last_refusal, r.state;

-- name: replay done
UPDATE outbox_replays r SET state = 'done', updated_at = clock_timestamp() FROM relay_checkpoints c
	WHERE r.id = $4 AND r.slot_name = c.slot_name AND c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $3) RETURNING r.id, r.seqs, r.since, r.until, r.aggregate_type, r.aggregate_id, r.horizon::text, r.last_seq, r.rate, r.events,
	r.passed_seq, r.sent, r.refused, r.last_refusal, r.state;

-- name: begin recovery
UPDATE relay_checkpoints SET epoch = epoch + 1, updated_at = clock_timestamp(), system_identifier = $3,
		recover_from = coalesce(recover_from, nullif($4, '')::pg_snapshot, horizon, '3:3:'), recover_to = NULL, recovered_seq = NULL,
		flush_lsn = NULL, tx_commit_lsn = NULL, tx_delivered = NULL, tx_last_event_id = NULL
	WHERE slot_name = $1 AND epoch = $2;

-- name: begin recovery 2
UPDATE relay_checkpoints SET epoch = epoch + 1, updated_at = clock_timestamp(), system_identifier = $3, horizon = NULL,
		recover_from = '3:3:', recover_to = NULL, recover_since = $4::timestamptz, recovered_seq = NULL,
		flush_lsn = NULL, tx_commit_lsn = NULL, tx_delivered = NULL, tx_last_event_id = NULL
	WHERE slot_name = $1 AND epoch = $2;

-- name: claim slot
UPDATE relay_checkpoints c SET epoch = c.epoch + 1, updated_at = clock_timestamp()
	WHERE c.slot_name = $1 AND EXISTS (
		SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $2)
	RETURNING c.slot_name, c.outbox_table, c.epoch, c.system_identifier,
	coalesce(c.flush_lsn, '0/0'), coalesce(c.tx_commit_lsn, '0/0'), coalesce(c.tx_delivered, 0), coalesce(c.tx_last_event_id, ''),
	coalesce(c.recovered_seq, 0), coalesce(c.horizon::text, ''), coalesce(c.publication_fingerprint, ''),
	coalesce(c.recover_from::text, ''), coalesce(c.recover_to::text, ''), coalesce(c.recover_since::text, ''), c.updated_at;

-- name: save checkpoint
UPDATE relay_checkpoints c SET flush_lsn = $4, tx_commit_lsn = nullif($5::pg_lsn, '0/0'), tx_delivered = $6,
		tx_last_event_id = $7, recovered_seq = $8, horizon = coalesce(nullif($9, '')::pg_snapshot, c.horizon),
		updated_at = clock_timestamp()
	WHERE c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $3);

-- name: finish recovery
UPDATE relay_checkpoints c SET horizon = recover_to, recover_from = NULL, recover_to = NULL, recover_since = NULL,
		recovered_seq = NULL, updated_at = clock_timestamp()
	WHERE c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $3);

-- name: events missing
UPDATE relay_checkpoints c SET publication_fingerprint = $4, updated_at = clock_timestamp()
	WHERE c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $3);

-- name: end of recovery
UPDATE relay_checkpoints c SET recover_to = $4::pg_snapshot, publication_fingerprint = $5, flush_lsn = $6,
		recovered_seq = NULL, updated_at = clock_timestamp()
	WHERE c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $3) AND EXISTS (
		SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.confirmed_flush_lsn = $6);

-- name: look for replayed rows
WITH looked AS MATERIALIZED (
			SELECT e."seq" AS seq, ($1::bigint[] IS NULL OR e."seq" = ANY ($1))
	AND ($2::timestamptz IS NULL OR e."created_at" >= $2) AND ($3::timestamptz IS NULL OR e."created_at" < $3)
	AND ($4::text IS NULL OR coalesce(e."aggregate_type"::text, '') = $4) AND ($5::text IS NULL OR coalesce(e."aggregate_id"::text, '') = $5) AND pg_visible_in_snapshot(e."xid", $7::pg_snapshot) AND NOT EXISTS (
	SELECT FROM outbox_dead_letters d
	WHERE d.outbox_table = $6 AND d.event_id = coalesce(e."id"::text, 'seq:' || e."seq") AND d.state IN ('parked', 'redriving')) AS selected
			FROM "public"."outbox_events" e WHERE e."seq" > $8::bigint AND e."seq" <= $9::bigint ORDER BY e."seq" LIMIT $10
		), page AS (SELECT seq FROM looked WHERE selected ORDER BY seq LIMIT $11)
		SELECT ARRAY(SELECT seq FROM page ORDER BY seq),
			CASE WHEN (SELECT count(*) FROM page) = $11 THEN (SELECT max(seq) FROM page) ELSE (SELECT max(seq) FROM looked) END;

-- name: mark discarded
WITH redriven AS (
		UPDATE outbox_dead_letters SET state = 'discarded', updated_at = clock_timestamp()
		WHERE state = 'parked' AND
	(cardinality($1::bigint[]) = 0 OR position = ANY ($1)) AND ($2 = '' OR event_id = $2) AND ($3 = '' OR destination = $3)
	AND ($4 = '' OR message_group = $4) AND ($5 = '' OR code = $5) AND (cardinality($6::text[]) = 0 OR state = ANY ($6)) RETURNING *
	), followers AS (
	UPDATE outbox_dead_letters d SET state = 'redriving', updated_at = clock_timestamp()
	FROM (SELECT DISTINCT outbox_table, destination, message_group FROM redriven WHERE blocks_group) AS r
	WHERE (d.outbox_table, d.destination, d.message_group) = (r.outbox_table, r.destination, r.message_group)
	  AND d.state = 'parked' AND d.code = 'BlockedGroup'
	  AND NOT EXISTS (
	SELECT FROM outbox_dead_letters o
	WHERE (o.outbox_table, o.destination, o.message_group) = (r.outbox_table, r.destination, r.message_group)
	  AND o.blocks_group AND o.state = 'parked' AND o.code <> 'BlockedGroup'
	  AND o.position NOT IN (SELECT position FROM redriven))
	RETURNING d.position)
	SELECT count(*) FROM redriven;

-- name: redriven
WITH redriven AS (
		UPDATE outbox_dead_letters d SET state = 'redriven', updated_at = clock_timestamp()
		FROM relay_checkpoints c WHERE d.position = $4 AND c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $3) RETURNING d.*
	), followers AS (
	UPDATE outbox_dead_letters d SET state = 'redriving', updated_at = clock_timestamp()
	FROM (SELECT DISTINCT outbox_table, destination, message_group FROM redriven WHERE blocks_group) AS r
	WHERE (d.outbox_table, d.destination, d.message_group) = (r.outbox_table, r.destination, r.message_group)
	  AND d.state = 'parked' AND d.code = 'BlockedGroup'
	  AND NOT EXISTS (
	SELECT FROM outbox_dead_letters o
	WHERE (o.outbox_table, o.destination, o.message_group) = (r.outbox_table, r.destination, r.message_group)
	  AND o.blocks_group AND o.state = 'parked' AND o.code <> 'BlockedGroup'
	  AND o.position NOT IN (SELECT position FROM redriven))
	RETURNING d.position)
	SELECT FROM redriven;

-- name: remove rows
WITH registered AS (
		SELECT c.slot_name, c.horizon, CASE
			WHEN c.system_identifier <> (SELECT system_identifier::text FROM pg_control_system()) THEN 'belongs to another cluster'
			WHEN c.recover_from IS NOT NULL THEN 'publishes from the table'
			END AS obstacle
		FROM relay_checkpoints c WHERE c.outbox_table = $4
	), batch AS MATERIALIZED (
		SELECT e."seq" AS seq, e."xid" AS xid, e."created_at" < now() - $5::interval AS old,
		       e."created_at" < now() - $5::interval - interval '1 minute' AS overdue
		FROM "public"."outbox_events" e WHERE e."seq" > $6::bigint ORDER BY e."seq" LIMIT $7
	), due AS MATERIALIZED (
		SELECT b.seq FROM batch b
		WHERE EXISTS (SELECT FROM relay_checkpoints c WHERE c.outbox_table = $4 AND c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $3))
		  AND b.old AND NOT EXISTS (
			SELECT FROM registered r
			WHERE r.obstacle IS NOT NULL OR pg_visible_in_snapshot(b.xid, r.horizon) IS NOT TRUE)
	), removed AS (
		DELETE FROM "public"."outbox_events" e
		WHERE e."seq" > $6::bigint AND e."seq" <= (SELECT max(seq) FROM due)
		  AND e."created_at" < now() - $5::interval
		  AND NOT EXISTS (
			SELECT FROM registered r
			WHERE r.obstacle IS NOT NULL OR pg_visible_in_snapshot(e."xid", r.horizon) IS NOT TRUE)
		  AND NOT EXISTS (
			SELECT FROM outbox_dead_letters d
			WHERE d.outbox_table = $4 AND d.event_id = coalesce(e."id"::text, 'seq:' || e."seq")
			  AND d.state IN ('parked', 'redriving'))
		RETURNING e."seq"
	)
	SELECT (SELECT count(*) FROM removed), coalesce(max(due.seq), $6::bigint),
	       coalesce(max(due.seq) = (SELECT max(seq) FROM batch) AND (SELECT count(*) FROM batch) = $7, false), ARRAY(
		SELECT format('%s%s %s', r.slot_name, CASE WHEN r.slot_name = $1 THEN ' (this relay''s)' END,
		              coalesce(r.obstacle, 'has not delivered them'))
		FROM registered r
		WHERE EXISTS (
			SELECT FROM batch b
			WHERE b.overdue AND (r.obstacle IS NOT NULL OR pg_visible_in_snapshot(b.xid, r.horizon) IS NOT TRUE))
		ORDER BY r.slot_name)
	FROM due;

-- name: look at replay
SELECT r.id, r.seqs, r.since, r.until, r.aggregate_type, r.aggregate_id, r.horizon::text, r.last_seq, r.rate, r.events,
	r.passed_seq, r.sent, r.refused, r.last_refusal, r.state FROM outbox_replays r
	WHERE r.slot_name = $1 AND r.outbox_table = $2 AND r.state = 'running';

-- name: look at replay 2
SELECT r.id, r.seqs, r.since, r.until, r.aggregate_type, r.aggregate_id, r.horizon::text, r.last_seq, r.rate, r.events,
	r.passed_seq, r.sent, r.refused, r.last_refusal, r.state FROM outbox_replays r WHERE r.slot_name = $1 AND r.id = $2;

-- name: look at replay 3
SELECT r.id, r.seqs, r.since, r.until, r.aggregate_type, r.aggregate_id, r.horizon::text, r.last_seq, r.rate, r.events,
	r.passed_seq, r.sent, r.refused, r.last_refusal, r.state FROM outbox_replays r WHERE r.slot_name = $1
	ORDER BY r.state = 'running' DESC, r.id DESC LIMIT 1;

-- name: begin anew
UPDATE relay_checkpoints SET epoch = epoch + 1, updated_at = clock_timestamp(), system_identifier = $3, horizon = NULL,
	recover_from = '3:3:', recover_to = NULL, recover_since = $4::timestamptz, recovered_seq = NULL,
	flush_lsn = NULL, tx_commit_lsn = NULL, tx_delivered = NULL, tx_last_event_id = NULL
WHERE slot_name = $1 AND epoch = $2;
