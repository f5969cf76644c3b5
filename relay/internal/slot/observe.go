package slot

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Publication is a publication and the outbox table that it must contain.
type Publication struct {
	Name  string
	Table string // schema.name; empty for several tables
	// Filter is the row filter that it must have: an expression of SQL, or empty for none.
	Filter string
	// FilterDigest is [FilterDigestSQL] of that filter. Without it, or once the filter has another
	// one, the filter is compared by its text, which waits for a lock on the table.
	FilterDigest string
}

// fingerprintSQL computes a fingerprint that changes whenever the publication, or the table's
// membership in it, is changed. It consists of the identities and writing transactions of the
// catalog rows. The definition alone would not show a change that was reverted, although rows in
// between were not streamed. With the schema of the table, the publication streams the table while
// it is in that schema, so the transaction that moved it there belongs to the fingerprint. The
// fingerprint is empty if the publication does not stream every row of the table under the table's
// name: partitions that are streamed under their own names would be skipped silently, and so would
// a table that became a partition of a published one, an unlogged table, and the rows that a row
// filter excludes. Only the expected filter is accepted, by its text, in a publication that applies
// it and that does not turn an UPDATE into an insert because of it. (A missing column ends the
// stream.) A table that was detached again has another fingerprint than before. The arguments are
// placeholders.
//
// Without a table the fingerprint is that of the publication alone, for several tables. Package
// members notices when one of them was added to it.
//
// pg_get_expr locks the table, so its text is read only if the digest of the filter is another one
// than expected. A lock that a migration or VACUUM FULL holds would otherwise stop the relay.
func fingerprintSQL(publication, table, filter, digest string) string {
	return fmt.Sprintf(`
		(SELECT CASE WHEN %[2]s = '' THEN coalesce((SELECT pg_catalog.concat_ws(':', p.oid, p.xmin, '`+ofSeveral+`')
				FROM pg_publication p WHERE p.pubname = %[1]s AND p.pubinsert), '')
			ELSE coalesce(pg_catalog.string_agg(pg_catalog.concat_ws(':', p.oid, p.xmin, r.oid, r.xmin, n.oid, n.xmin,
			`+MovedSQL("t", "n")+`, `+DetachedSQL("t", "p")+`,
			t.oid::text || CASE WHEN %[3]s <> '' THEN '/' || pg_catalog.md5(%[3]s) ELSE '' END),
				',' ORDER BY p.oid), '') END
		 FROM pg_class t
		 JOIN pg_publication p ON p.pubname = %[1]s
		 LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = t.oid
		 LEFT JOIN pg_publication_namespace n ON n.pnpubid = p.oid AND n.pnnspid = t.relnamespace
		 WHERE t.oid = to_regclass(nullif(%[2]s, '')) AND p.pubinsert AND t.relpersistence = 'p'
		   AND (p.puballtables OR r.oid IS NOT NULL OR n.oid IS NOT NULL)
		   AND CASE WHEN r.prqual IS NULL OR %[3]s = '' THEN r.prqual IS NULL AND %[3]s = ''
				WHEN `+FilterDigestSQL("r")+` = %[4]s THEN true
				ELSE pg_get_expr(r.prqual, r.prrelid) = %[3]s END
		   AND (r.prqual IS NULL OR NOT p.puballtables AND n.oid IS NULL AND NOT p.pubupdate)
		   AND CASE WHEN p.pubviaroot THEN NOT EXISTS (
				SELECT FROM pg_catalog.pg_partition_ancestors(t.oid) a JOIN pg_class c ON c.oid = a.relid
				WHERE c.oid <> t.oid AND (p.puballtables
					OR EXISTS (SELECT FROM pg_publication_rel o WHERE o.prpubid = p.oid AND o.prrelid = c.oid)
					OR EXISTS (SELECT FROM pg_publication_namespace o
						WHERE o.pnpubid = p.oid AND o.pnnspid = c.relnamespace)))
				ELSE t.relkind <> 'p' AND NOT t.relispartition END)`,
		publication, table, filter, digest)
}

// FilterDigestSQL is an expression for a digest of a row filter, or NULL if there is none. Filters
// with the same digest have the same text: the stored expression has the numbers of the columns,
// and the digest has their names too. The reverse does not hold, because the stored expression has
// the places in the statement that wrote it. The expression takes no lock on the table. published
// is the alias of pg_publication_rel.
func FilterDigestSQL(published string) string {
	return strings.ReplaceAll(`pg_catalog.md5({published}.prqual::text || coalesce((
			SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname::text), ',' ORDER BY a.attnum)
			FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
			WHERE d.classid = 'pg_publication_rel'::regclass AND d.objid = {published}.oid
			  AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0), ''))`, "{published}", published)
}

// MovedSQL is an expression for the transaction that moved the table into its schema, or NULL if it
// was created there. It is for a table of which a publication has the schema: rows that were
// written while the table was in another schema are not in the log. table and published are the
// aliases of pg_class and of pg_publication_namespace. The system columns keep the transaction that
// created the table.
func MovedSQL(table, published string) string {
	return strings.NewReplacer("{table}", table, "{published}", published).Replace(
		`(SELECT d.xmin FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.objid AND a.attname = 'tableoid'
			WHERE {published}.oid IS NOT NULL AND d.classid = 'pg_class'::regclass AND d.objid = {table}.oid
			  AND d.objsubid = 0 AND d.refclassid = 'pg_namespace'::regclass AND d.xmin <> a.xmin)`)
}

// DetachedSQL is an expression for the transaction that attached the table to a parent or detached
// it, or NULL if the table is as it was created. While it was a partition, a publication of its
// parent streamed its rows under the name of the parent. Both statements write the catalog rows of
// all columns (attinhcount) in one transaction, and the system columns keep the transaction that
// created the table. A statement that changes every column at once looks the same, which costs a
// recovery. table and publication are the aliases of pg_class and of pg_publication.
// https://www.postgresql.org/docs/current/sql-createpublication.html#SQL-CREATEPUBLICATION-PARAMS-WITH-PUBLISH-VIA-PARTITION-ROOT
func DetachedSQL(table, publication string) string {
	return strings.NewReplacer("{table}", table, "{publication}", publication).Replace(
		`(SELECT '-' || min(a.xmin::text) FROM pg_attribute a JOIN pg_attribute created
				ON created.attrelid = a.attrelid AND created.attname = 'tableoid'
			WHERE {publication}.pubviaroot AND a.attrelid = {table}.oid AND a.attnum > 0 AND NOT a.attisdropped
			HAVING min(a.xmin::text) = max(a.xmin::text) AND min(a.xmin::text) <> min(created.xmin::text))`)
}

// Observation is the state of the cluster at one moment, read in one statement.
type Observation struct {
	Held        bool          // the fence holds
	Snapshot    string        // pg_snapshot
	InsertLSN   pglogrepl.LSN // every transaction that is visible in Snapshot commits before it
	Fingerprint string        // of the publication; empty if it does not stream every row of the table
	DeliveryLag int64         // bytes of WAL behind confirmed_flush_lsn
	RetainedWAL int64         // bytes of WAL that the slot keeps on disk
	SafeWALSize int64         // bytes that may be written before the slot is in danger; -1 without a limit
	KeepLimit   int64         // max_slot_wal_keep_size in bytes; -1 without a limit
	WALStatus   string
}

var observe = `
	SELECT EXISTS (SELECT FROM relay_checkpoints c WHERE ` + FenceSQL + `),
	       pg_current_snapshot()::text, pg_current_wal_insert_lsn(),
	       ` + fingerprintSQL("$4", "$5", "$6::text", "$7::text") + `,
	       coalesce(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), s.confirmed_flush_lsn), 0)::bigint,
	       coalesce(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), s.restart_lsn), 0)::bigint,
	       coalesce(s.safe_wal_size, -1), ` + keepLimitSQL + `, coalesce(s.wal_status, '')
	FROM (SELECT) AS one LEFT JOIN pg_replication_slots s ON s.slot_name = $1`

// Observe reads in one statement whether f holds and the state of the cluster.
func Observe(ctx context.Context, pool *pgxpool.Pool, f Fence, p Publication) (Observation, error) {
	var o Observation
	err := pool.QueryRow(ctx, observe, f.Args(p.Name, p.Table, p.Filter, p.FilterDigest)...).Scan(
		&o.Held, &o.Snapshot, &o.InsertLSN, &o.Fingerprint, &o.DeliveryLag, &o.RetainedWAL, &o.SafeWALSize,
		&o.KeepLimit, &o.WALStatus)
	if err != nil {
		return Observation{}, fmt.Errorf("observe slot %s: %w", f.Slot, err)
	}
	return o, nil
}

// Fingerprint reads the fingerprint of the publication. It is empty if p does not stream every row
// of its table.
func Fingerprint(ctx context.Context, pool *pgxpool.Pool, p Publication) (string, error) {
	var fingerprint string
	err := pool.QueryRow(ctx, `SELECT `+fingerprintSQL("$1", "$2", "$3::text", "$4::text"),
		p.Name, p.Table, p.Filter, p.FilterDigest).Scan(&fingerprint)
	if err != nil {
		return "", fmt.Errorf("read publication %s: %w", p.Name, err)
	}
	return fingerprint, nil
}

// StreamsTheSame reports whether two different fingerprints belong to a publication that streams
// every row of the same table that passes the same row filter: its catalog rows were rewritten with
// the same meaning. The publication may have had another meaning in between.
func StreamsTheSame(before, after string) bool {
	return before != "" && after != "" && tableOf(before) == tableOf(after)
}

// ofSeveral is the last part of a fingerprint for several tables.
const ofSeveral = "several"

// IsOfSeveral reports whether a fingerprint is that of a publication for several tables.
func IsOfSeveral(fingerprint string) bool { return tableOf(fingerprint) == ofSeveral }

// tableOf returns the last part of a fingerprint: the table's OID, with the hash of a row filter.
func tableOf(fingerprint string) string {
	return fingerprint[strings.LastIndexByte(fingerprint, ':')+1:]
}

// ReadSnapshot returns the pg_snapshot of a snapshot that a replication connection exported with a
// new slot.
func ReadSnapshot(ctx context.Context, pool *pgxpool.Pool, exported string) (string, error) {
	var snapshot string
	err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly},
		func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SET TRANSACTION SNAPSHOT '`+strings.ReplaceAll(exported, `'`,
				`''`)+`'`); err != nil {
				return err
			}
			return tx.QueryRow(ctx, `SELECT pg_current_snapshot()::text`).Scan(&snapshot)
		})
	if err != nil {
		return "", fmt.Errorf("read the snapshot of the new slot: %w", err)
	}
	return inOrder(snapshot)
}

// inOrder returns an equivalent snapshot that Postgres can parse. A snapshot from the log can have
// an xmin above its xmax, if the transactions in between were rolled back. Everything below xmin
// has ended.
func inOrder(snapshot string) (string, error) {
	var xmin, xmax uint64
	if _, err := fmt.Sscanf(snapshot, "%d:%d:", &xmin, &xmax); err != nil {
		return "", fmt.Errorf("read snapshot %s: %w", snapshot, err)
	}
	if xmin <= xmax {
		return snapshot, nil
	}
	return fmt.Sprintf("%d:%[1]d:", xmin), nil
}

// SystemIdentifier returns the identifier of the cluster, which its standbys and physical copies
// share.
func SystemIdentifier(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	var system string
	if err := pool.QueryRow(ctx, `SELECT system_identifier::text FROM pg_control_system()`).Scan(&system); err != nil {
		return "", fmt.Errorf("read the system identifier: %w", err)
	}
	return system, nil
}

// CurrentSnapshot returns the current pg_snapshot.
func CurrentSnapshot(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	var snapshot string
	if err := pool.QueryRow(ctx, `SELECT pg_current_snapshot()::text`).Scan(&snapshot); err != nil {
		return "", fmt.Errorf("read the current snapshot: %w", err)
	}
	return snapshot, nil
}

// ServerVersion returns the server's major version.
func ServerVersion(ctx context.Context, pool *pgxpool.Pool) (int, error) {
	var version int
	if err := pool.QueryRow(ctx,
		`SELECT current_setting('server_version_num')::integer / 10000`).Scan(&version); err != nil {
		return 0, fmt.Errorf("read the server's version: %w", err)
	}
	return version, nil
}

// FlushedLSN returns the position up to which the log is on disk.
func FlushedLSN(ctx context.Context, pool *pgxpool.Pool) (lsn pglogrepl.LSN, err error) {
	if err := pool.QueryRow(ctx, `SELECT pg_current_wal_flush_lsn()`).Scan(&lsn); err != nil {
		return 0, fmt.Errorf("read the end of the log: %w", err)
	}
	return lsn, nil
}
