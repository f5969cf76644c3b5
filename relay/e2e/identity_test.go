package e2e_test

import (
	"strings"
	"testing"
)

// identityColumns are the columns of a custom table without its id and its sequence.
const identityColumns = `, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), kind text, body text`

// identityCase is a custom table with the findings of relay check.
type identityCase struct {
	table string
	env   string
	want  []string // texts in the output
	fails bool
}

var identityCases = map[string]identityCase{
	"valid": {
		table: `CREATE TABLE events (id text PRIMARY KEY, seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE` +
			identityColumns +
			`)`,
		want: []string{"column id tells the events apart", "column seq numbers the rows in the order"},
	},
	"deferred": {
		table: `CREATE TABLE events (id text UNIQUE DEFERRABLE INITIALLY DEFERRED, seq bigserial UNIQUE` +
			identityColumns +
			`)`,
		want: []string{"column id tells the events apart"},
	},
	"id not unique": {
		table: `CREATE TABLE events (id text, seq bigserial UNIQUE` + identityColumns + `)`,
		want:  []string{"degraded", `CREATE UNIQUE INDEX CONCURRENTLY ON "public"."events" ("id")`, "duplicate"},
	},
	"id in a partial and a wider index": {
		table: `CREATE TABLE events (id text, seq bigserial UNIQUE` + identityColumns +
			`, UNIQUE (id, kind)); CREATE UNIQUE INDEX ON events (id) WHERE kind = 'k'`,
		want: []string{`CREATE UNIQUE INDEX CONCURRENTLY ON "public"."events" ("id")`},
	},
	"asserted by the operator": {
		table: `CREATE TABLE events (id text, seq bigserial UNIQUE` + identityColumns + `)`,
		env:   "RELAY_ID_UNIQUE=assert",
		want:  []string{"as RELAY_ID_UNIQUE=assert says"},
	},
	"partitioned": {
		table: `CREATE TABLE events (id text, seq bigserial, at timestamptz NOT NULL DEFAULT now()` + identityColumns +
			`, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
			CREATE TABLE today PARTITION OF events DEFAULT; CREATE UNIQUE INDEX ON today (seq)`,
		want: []string{"partition key too", "RELAY_ID_UNIQUE=assert", "column seq numbers the rows in the order"},
	},
	"a version per aggregate": {
		table: `CREATE TABLE events (id text PRIMARY KEY, seq int NOT NULL DEFAULT 0` + identityColumns + `)`,
		fails: true,
		want: []string{
			"may have the same value in many rows",
			`CREATE UNIQUE INDEX CONCURRENTLY ON "public"."events" ("seq")`,
		},
	},
	"a sequence with a cache": {
		table: `CREATE TABLE events (id text PRIMARY KEY,
			seq bigint GENERATED ALWAYS AS IDENTITY (CACHE 10) UNIQUE` + identityColumns + `)`, fails: true,
		want: []string{"CACHE 10", `ALTER TABLE "public"."events" ALTER COLUMN "seq" SET CACHE 1;`},
	},
	"a default with a cache": {
		table: `CREATE SEQUENCE numbers CACHE 20; CREATE TABLE events (id text PRIMARY KEY,
			seq bigint NOT NULL DEFAULT nextval('numbers') UNIQUE` + identityColumns + `)`,
		fails: true, want: []string{"CACHE 20", "ALTER SEQUENCE numbers CACHE 1;"},
	},
	"a sequence that counts down": {
		table: `CREATE TABLE events (id text PRIMARY KEY,
			seq bigint GENERATED ALWAYS AS IDENTITY (INCREMENT -1) UNIQUE` + identityColumns + `)`, fails: true,
		want: []string{"does not count upwards"},
	},
	"a sequence that begins again": {
		table: `CREATE TABLE events (id text PRIMARY KEY,
			seq bigint GENERATED ALWAYS AS IDENTITY (MAXVALUE 9 CYCLE) UNIQUE` + identityColumns + `)`, fails: true,
		want: []string{"does not count upwards"},
	},
	"partitions with sequences of their own": {
		table: `CREATE TABLE events (id text, seq bigserial, at timestamptz NOT NULL DEFAULT now()` + identityColumns +
			`) PARTITION BY RANGE (at);
			CREATE TABLE today PARTITION OF events DEFAULT; CREATE UNIQUE INDEX ON today (seq);
			CREATE SEQUENCE own; ALTER TABLE today ALTER seq SET DEFAULT nextval('own')`, fails: true,
		want: []string{"2 sequences"},
	},
	"an unlogged partition": {
		table: `CREATE TABLE events (id text, seq bigserial, at timestamptz NOT NULL DEFAULT now()` + identityColumns +
			`) PARTITION BY RANGE (at);
			CREATE UNLOGGED TABLE today PARTITION OF events DEFAULT`, fails: true,
		want: []string{"ALTER TABLE public.today SET LOGGED;"},
	},
	"an inheriting table": {
		table: `CREATE TABLE events (id text PRIMARY KEY, seq bigserial UNIQUE` + identityColumns +
			`); CREATE TABLE inheriting () INHERITS (events)`,
		want: []string{"table inheriting inherits from public.events"},
	},
}

func TestCheckReportsIDAndSequenceColumns(t *testing.T) {
	t.Parallel()
	for name, c := range identityCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders")
			w.exec(c.table)
			w.exec(`ALTER PUBLICATION outbox_pub SET TABLE events`)
			out, err := w.command([]string{
				"RELAY_TABLE=public.events", "RELAY_COLUMN_EVENT_TYPE=kind", "RELAY_COLUMN_PAYLOAD=body",
				"RELAY_COLUMN_AGGREGATE_TYPE=",
				"RELAY_COLUMN_AGGREGATE_ID=", "RELAY_COLUMN_HEADERS=", "RELAY_COLUMN_CREATED_AT=", c.env,
			}, "check")
			if (err != nil) != c.fails {
				t.Errorf("check: %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("check does not say %q: %s", want, out)
				}
			}
		})
	}
}

// A FIFO destination accepts the second event of an id and drops it, so the relay does not start.
func TestFIFODestinationsNeedUniqueIDs(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.exec(`ALTER TABLE outbox_events DROP CONSTRAINT outbox_events_pkey`)
	const fix = `CREATE UNIQUE INDEX CONCURRENTLY ON "public"."outbox_events" ("id")`
	w.checkRefusal(nil, "check", fix, "FIFO destination accepts")
	w.checkRefusal(nil, "run", fix)
	if output, err := w.command([]string{"RELAY_ID_UNIQUE=assert"}, "check"); err != nil {
		t.Errorf("check with RELAY_ID_UNIQUE=assert: %v: %s", err, output)
	}
	w.exec(fix)
	w.startStreaming()
}
