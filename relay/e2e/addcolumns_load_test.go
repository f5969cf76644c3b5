package e2e_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// interval is the time of one insert or statement.
type interval struct{ from, to time.Time }

// insertLoad inserts rows with several writers, one row in a transaction, as fast as they can.
type insertLoad struct {
	w       *testEnv
	writing errgroup.Group
	end     context.CancelFunc

	mu      sync.Mutex
	inserts []interval
}

func (w *testEnv) startInserts(writers int, statement string) *insertLoad {
	ctx, end := context.WithCancel(w.t.Context())
	l := &insertLoad{w: w, end: end}
	for range writers {
		l.writing.Go(func() error { return l.write(ctx, statement) })
	}
	return l
}

func (l *insertLoad) write(ctx context.Context, statement string) error {
	for ctx.Err() == nil {
		from := time.Now()
		if _, err := l.w.pool.Exec(context.WithoutCancel(ctx), statement); err != nil {
			return err
		}
		l.mu.Lock()
		l.inserts = append(l.inserts, interval{from, time.Now()})
		l.mu.Unlock()
	}
	return nil
}

// stop ends the writers and returns their inserts.
func (l *insertLoad) stop() []interval {
	l.w.t.Helper()
	l.end()
	l.w.must(l.writing.Wait())
	return l.inserts
}

// longest returns the longest insert that was under way in a period, and how many ended in it.
func longest(inserts []interval, from, to time.Time) (took time.Duration, ended int) {
	for _, i := range inserts {
		if i.from.Before(to) && i.to.After(from) {
			took = max(took, i.to.Sub(i.from))
		}
		if i.to.After(from) && i.to.Before(to) {
			ended++
		}
	}
	return took, ended
}

// statementsIn splits SQL at semicolons outside of $$. A transaction is one element.
func statementsIn(sql string) []string {
	var all []string
	rest, quoted, block := sql, false, ""
	for rest != "" {
		end := strings.IndexAny(rest, ";$")
		if end < 0 {
			break
		}
		block += rest[:end]
		switch {
		case strings.HasPrefix(rest[end:], "$$"):
			quoted, block, end = !quoted, block+"$$", end+1
		case quoted, rest[end] == '$', strings.HasPrefix(strings.TrimSpace(block), "BEGIN") &&
			!strings.HasSuffix(block, "COMMIT"):
			block += rest[end : end+1]
		default:
			all, block = append(all, strings.TrimSpace(block)), ""
		}
		rest = rest[end+1:]
	}
	return all
}

// TestColumnsAreAddedWithoutARewrite: inserts continue while the statements of relay check --table
// run. ADD_COLUMNS_ROWS=1000000 measures how long they take, and how long inserts wait for each.
func TestColumnsAreAddedWithoutARewrite(t *testing.T) {
	t.Parallel()
	rows := number(t, "ADD_COLUMNS_ROWS", 20_000)
	w := newTestEnv(t, "orders.fifo")
	w.exec(`CREATE TABLE events (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregate_id text NOT NULL,
		event_type text NOT NULL, payload text NOT NULL, created_at timestamptz NOT NULL DEFAULT now())`)
	w.exec(`INSERT INTO events (aggregate_id, event_type, payload)
		SELECT i % 1000, 'order.created', repeat('x', 300) FROM generate_series(1, $1) AS i`, rows)
	w.exec(`ALTER PUBLICATION outbox_pub SET TABLE events`)
	const filenode = `SELECT pg_relation_filenode('events')::text`
	before := w.query(filenode)

	statements := w.proposedStatements("--table=public.events")
	load := w.startInserts(4, `INSERT INTO events (aggregate_id, event_type, payload)
		VALUES ('load', 'order.created', repeat('x', 300))`)
	took := w.timeEach(statements)
	inserts := load.stop()
	for i, statement := range statements {
		wait, ended := longest(inserts, took[i].from, took[i].to)
		t.Logf("%8v, longest insert %8v of %5d: %.70s", took[i].to.Sub(took[i].from).Round(time.Millisecond),
			wait.Round(100*time.Microsecond), ended, statement)
	}
	wait, ended := longest(inserts, took[0].from, took[len(took)-1].to)
	t.Logf("%d rows, %d inserts meanwhile, the longest took %v", rows, ended, wait.Round(time.Millisecond))

	if after := w.query(filenode); after != before {
		t.Errorf("the table was rewritten: file %s became %s", before, after)
	}
	if w.query(`SELECT (count(DISTINCT seq) = count(*) AND count(*) FILTER (WHERE seq < 0) >= $1
		AND min(seq) FILTER (WHERE seq > 0) = 1)::text FROM events`, rows) != "true" {
		t.Error("rows from before are not numbered below 0, or those of the load not from 1 on")
	}
	output, err := w.command([]string{
		"RELAY_TABLE=public.events", "RELAY_COLUMN_HEADERS=", "RELAY_COLUMN_AGGREGATE_TYPE='order'",
		"RELAY_START=table",
	}, "check")
	if err != nil || !strings.Contains(output, "allows every guarantee") {
		t.Errorf("%v: %s", err, output)
	}
}

// proposedStatements returns the statements of relay check that add the missing guarantees.
func (w *testEnv) proposedStatements(args ...string) []string {
	w.t.Helper()
	a, _ := w.answer(nil, append([]string{"check"}, args...)...)
	for _, f := range a.Findings {
		if f.Code == "guarantees" && f.Statement != "" {
			return statementsIn(f.Statement)
		}
	}
	w.t.Fatalf("no statement adds a guarantee: %+v", a.Findings)
	return nil
}

// timeEach runs each statement in one session, as psql does, and returns its time.
func (w *testEnv) timeEach(statements []string) []interval {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.url)
	w.must(err)
	defer conn.Close(context.WithoutCancel(w.t.Context()))
	times := make([]interval, len(statements))
	for i, statement := range statements {
		from := time.Now()
		_, err := conn.PgConn().Exec(w.t.Context(), statement).ReadAll()
		w.must(err)
		times[i] = interval{from, time.Now()}
	}
	return times
}
