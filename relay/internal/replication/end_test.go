package replication_test

import (
	"context"
	"testing"
	"time"
)

// A stream that ends in a backlog must not wait for a large piece behind the last messages: a
// standby waits for its slot.
func TestAStreamEndsAtOnceInABacklog(t *testing.T) {
	t.Parallel()
	ctx, config, admin := newDatabase(t)
	for _, statement := range []string{
		`CREATE TABLE backlog (payload text)`,
		`CREATE PUBLICATION backlog FOR TABLE backlog`,
		`SELECT pg_create_logical_replication_slot('backlog', 'pgoutput')`,
		`DO $$ BEGIN FOR i IN 1..60 LOOP INSERT INTO backlog VALUES (repeat('x', 400)); COMMIT; END LOOP; END $$`,
	} {
		if _, err := admin.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	stream := open(ctx, t, config, "backlog", "backlog")
	defer stream.Close()
	stream.Confirm(1)
	if err := stream.Start(ctx, 0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // the whole backlog arrives
	run, end := context.WithCancel(ctx)
	defer end()
	last := &ender{left: 3*60 + 1, end: end} // Begin, Insert and Commit of each row, and one Relation
	if err := stream.Run(run, last); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(last.ended); took > time.Second {
		t.Errorf("the stream ended after %s", took)
	}
}

// ender ends the stream at the last message of a large piece. The server's answer comes alone.
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
