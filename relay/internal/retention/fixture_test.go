package retention

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

var outboxTable = outboxtable.Table{Schema: "public", Name: "outbox_events", Columns: outboxtable.Columns{
	ID: "id", Sequence: "seq", XID: "xid", CreatedAt: "created_at",
}}

// fixture is an outbox table whose slot is held, with rows that are all delivered.
type fixture struct {
	t       *testing.T
	pool    *pgxpool.Pool
	slot    string
	fence   slot.Fence
	stream  *replication.Stream
	remover *Remover
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	r := &fixture{t: t, pool: outboxtest.NewPool(t), slot: "relay_" + strings.ToLower(rand.Text()[:12])}
	r.hold()
	r.remover = NewRemover(r.pool, r.fence, outboxTable, time.Hour)
	return r
}

// hold acquires the slot, as a relay does.
func (r *fixture) hold() {
	r.t.Helper()
	r.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, r.slot)
	var err error
	r.stream, err = replication.Open(r.t.Context(), replication.Config{
		Connection: &r.pool.Config().ConnConfig.Config, Slot: r.slot, Publication: "outbox_pub",
		SenderTimeout: time.Minute,
	})
	r.must(err)
	r.t.Cleanup(r.stream.Close)
	r.must(r.stream.Start(r.t.Context(), 0))
	store := checkpoint.NewStore(r.pool, r.slot)
	r.must(store.Create(r.t.Context(), r.row("")))
	r.must(members.Register(r.t.Context(), r.pool, r.slot, outboxTable))
	r.fence, _, err = store.Claim(r.t.Context(), r.stream.PID())
	r.must(err)
}

// row is a checkpoint of this cluster.
func (r *fixture) row(horizon string) checkpoint.Row {
	var system string
	r.must(r.pool.QueryRow(r.t.Context(), `SELECT system_identifier::text FROM pg_control_system()`).Scan(&system))
	return checkpoint.Row{Table: "public.outbox_events", SystemIdentifier: system, Horizon: horizon}
}

func (r *fixture) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *fixture) exec(sql string, args ...any) {
	r.t.Helper()
	_, err := r.pool.Exec(r.t.Context(), sql, args...)
	r.must(err)
}

// write writes n rows that were created this long ago.
func (r *fixture) write(n int, age time.Duration) {
	r.t.Helper()
	r.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, created_at)
		SELECT gen_random_uuid(), 'order', i::text, 'order.created', '{}', now() - make_interval(secs => $2)
		FROM generate_series(1, $1) AS i`, n, age.Seconds())
}

// deliver makes everything that is committed count as delivered.
func (r *fixture) deliver() {
	r.t.Helper()
	r.exec(`UPDATE relay_checkpoints SET horizon = pg_current_snapshot() WHERE slot_name = $1`, r.slot)
}

func (r *fixture) remove(after int64, limit int) Batch {
	r.t.Helper()
	batch, err := r.remover.Rows(r.t.Context(), after, limit)
	r.must(err)
	return batch
}

func (r *fixture) left() (rows int) {
	r.t.Helper()
	r.must(r.pool.QueryRow(r.t.Context(), `SELECT count(*) FROM outbox_events`).Scan(&rows))
	return rows
}
