package replication_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
)

// A stream that ends in a backlog must not wait for a large piece behind the last messages: a
// standby waits for its slot.
func TestAStreamEndsAtOnceInABacklog(t *testing.T) {
	t.Parallel()
	url := pgtest.NewDatabase(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	admin, err := pgx.Connect(ctx, pgtest.SuperuserURL(t, url))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	for _, statement := range []string{
		`CREATE TABLE backlog (id int)`,
		`CREATE PUBLICATION backlog FOR TABLE backlog`,
		`SELECT pg_create_logical_replication_slot('backlog', 'pgoutput')`,
		`DO $$ BEGIN FOR i IN 1..20000 LOOP INSERT INTO backlog VALUES (i); COMMIT; END LOOP; END $$`,
	} {
		if _, err := admin.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		stream, err := replication.Open(ctx, replication.Config{
			Connection: config, Slot: "backlog", Publication: "backlog", SenderTimeout: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		stream.Confirm(1)
		if err := stream.Start(ctx, 0); err != nil {
			t.Fatal(err)
		}
		run, end := context.WithCancel(ctx)
		middle := &ender{left: 10_000, end: end}
		if err := stream.Run(run, middle); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(middle.ended); took > time.Second {
			t.Errorf("the stream ended after %s", took)
		}
		stream.Close()
		awaitFree(ctx, t, admin)
	}
}

// awaitFree waits until no process holds a slot of the database.
func awaitFree(ctx context.Context, t *testing.T, admin *pgx.Conn) {
	t.Helper()
	for held := true; held; {
		const query = `SELECT bool_or(active) FROM pg_replication_slots WHERE database = current_database()`
		if err := admin.QueryRow(ctx, query).Scan(&held); err != nil {
			t.Fatal(err)
		}
	}
}

// ender ends the stream in the middle of a backlog.
type ender struct {
	ignorant
	left  int // messages
	end   context.CancelFunc
	ended time.Time
}

func (e *ender) Gather() time.Duration { return 10 * time.Millisecond }

func (e *ender) WALData(time.Time, []byte) error {
	if e.left--; e.left == 0 {
		e.ended = time.Now()
		e.end()
	}
	return nil
}

var _ replication.Handler = (*ender)(nil)
