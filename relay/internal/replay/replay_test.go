package replay

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

var outboxTable = outboxtest.Table

// fixture is an outbox table with rows of this many bytes, a tenth of them of each of ten
// aggregates.
type fixture struct {
	t        *testing.T
	pool     *pgxpool.Pool
	operator *Operator
	store    *Store
}

func newFixture(t *testing.T, rows, bytes int) *fixture {
	t.Helper()
	pool := outboxtest.NewPool(t)
	r := &fixture{
		t:        t,
		pool:     pool,
		operator: NewOperator(pool, "slot", outboxTable),
		store:    NewStore(pool, slot.Fence{Slot: "slot"}, outboxTable),
	}
	r.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'order', (i % 10)::text, 'order.created', to_json(repeat('x', $2))
			FROM generate_series(1, $1::integer) AS i`, rows, bytes)
	return r
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

// begin requests a replay of all events that are committed now.
func (r *fixture) begin(s Selection) *Replay {
	r.t.Helper()
	var horizon string
	r.must(r.pool.QueryRow(r.t.Context(), `SELECT pg_current_snapshot()::text`).Scan(&horizon))
	plan, err := r.operator.Plan(r.t.Context(), s, horizon)
	r.must(err)
	asked, err := r.operator.Begin(r.t.Context(), plan, 100)
	r.must(err)
	return asked
}

// pages reads a replay to its end and returns the seqs of each page.
func (r *fixture) pages(asked *Replay, limit int) (pages [][]string) {
	r.t.Helper()
	for {
		page, err := r.store.Page(r.t.Context(), asked, limit)
		r.must(err)
		if page.End {
			return pages
		}
		if page.Last <= asked.PassedSeq {
			r.t.Fatalf("the page behind %d ends at %d", asked.PassedSeq, page.Last)
		}
		asked.PassedSeq = page.Last
		var seqs []string
		for _, e := range page.Events {
			seqs = append(seqs, e.Sequence)
		}
		pages = append(pages, seqs)
	}
}

func one(text string) *string { return &text }

func TestPagesHoldWhatIsSelectedInOrderAndNothingTwice(t *testing.T) {
	t.Parallel()
	r := newFixture(t, 3500, 10)
	var want []string
	for seq := 7; seq <= 3500; seq += 10 {
		want = append(want, fmt.Sprint(seq))
	}
	for _, limit := range []int{1, 30, 1000} {
		asked := r.begin(Selection{AggregateType: one("order"), AggregateID: one("7")})
		r.exec(`UPDATE outbox_replays SET state = 'done'`)
		if asked.Events != 350 {
			t.Errorf("%d events are selected", asked.Events)
		}
		var got []string
		for _, page := range r.pages(asked, limit) {
			if len(page) > limit || len(page) > 100 { // a tenth of the rows that one query reads
				t.Errorf("a page of %d, with limit %d", len(page), limit)
			}
			got = append(got, page...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: read %v", limit, got)
		}
	}
}

func TestAPageOfLargeRowsIsShort(t *testing.T) {
	t.Parallel()
	r := newFixture(t, 20, 1_000_000)
	read := 0
	for _, page := range r.pages(r.begin(Selection{}), 200) {
		if len(page) > 5 {
			t.Errorf("%d rows of 1 MB were read at once", len(page))
		}
		read += len(page)
	}
	if read != 20 {
		t.Errorf("read %d of 20 rows", read)
	}
}

func TestWhatIsWrittenLaterIsNotPartOfAReplay(t *testing.T) {
	t.Parallel()
	r := newFixture(t, 3, 10)
	open, err := r.pool.Begin(t.Context())
	r.must(err)
	defer open.Rollback(t.Context()) //nolint:errcheck // after Commit it has nothing to do
	const insert = `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		VALUES (gen_random_uuid(), 'order', '1', 't', '{}')`
	_, err = open.Exec(t.Context(), insert) // its seq is lower than the last of the replay
	r.must(err)
	r.exec(insert)
	asked := r.begin(Selection{})
	r.must(open.Commit(t.Context()))
	r.exec(insert)
	if got := fmt.Sprint(r.pages(asked, 10)); got != "[[1 2 3 5]]" {
		t.Errorf("read %s", got)
	}
}

// TestAPageReadsTheIndexAndNotTheTable: the running relay finds the events of a large table as
// quickly as those of a small one.
func TestAPageReadsTheIndexAndNotTheTable(t *testing.T) {
	t.Parallel()
	r := newFixture(t, 50_000, 10)
	asked := r.begin(Selection{AggregateID: one("no such")})
	from, err := r.store.eventsOf(asked)
	r.must(err)
	conn, err := r.pool.Acquire(t.Context())
	r.must(err)
	defer conn.Release()
	for _, analyzed := range []bool{false, true} {
		if analyzed {
			r.exec(`VACUUM ANALYZE outbox_events`)
		}
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			_, err = conn.Exec(t.Context(), `SET plan_cache_mode = `+mode)
			r.must(err)
			args := append(asked.Selection.args(), "public.outbox_events", asked.Horizon, "slot", 20_000, 50_000,
				lookRows, 10)
			rows, err := conn.Query(t.Context(), `EXPLAIN `+from.look, args...)
			r.must(err)
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			r.must(err)
			plan := strings.Join(lines, "\n")
			if strings.Contains(plan, "Seq Scan on outbox_events") || !strings.Contains(plan, "outbox_events_seq_key") {
				t.Errorf("%s, analyzed %v:\n%s", mode, analyzed, plan)
			}
		}
	}
}

// TestAReplayHasTheTextsOfTheStream: routes go by them. An aggregate is also selected as SQL writes
// it, and an id is never cut off.
func TestAReplayHasTheTextsOfTheStream(t *testing.T) {
	t.Parallel()
	r := newFixture(t, 0, 0)
	r.exec(`CREATE TABLE own (id char(8) PRIMARY KEY, seq bigint UNIQUE, xid xid8, aggregate_type boolean,
		aggregate_id char(4), event_type inet, payload text, headers json, created_at timestamptz)`)
	r.exec(`INSERT INTO own VALUES ('12345678', 1, '3', true, '7', '10.0.0.1', '{}', NULL, now())`)
	own := outboxTable
	own.Name = "own"
	r.operator, r.store = NewOperator(r.pool, "slot", own), NewStore(r.pool, slot.Fence{Slot: "slot"}, own)
	for _, id := range []string{"7", "7   "} {
		asked := r.begin(Selection{AggregateType: one("t"), AggregateID: &id})
		r.exec(`UPDATE outbox_replays SET state = 'done'`)
		if got := fmt.Sprint(r.pages(asked, 10)); asked.Events != 1 || got != "[[1]]" {
			t.Errorf("aggregate %q: %d events, read %s", id, asked.Events, got)
		}
	}
	plan, err := r.operator.Plan(t.Context(), Selection{}, "100:100:")
	kinds := []Kind{{EventType: "10.0.0.1", AggregateType: "t", Events: 1}}
	if err != nil || !slices.Equal(plan.Kinds, kinds) {
		t.Errorf("the plan is %+v, %v", plan, err)
	}
	seqs, missing, err := r.operator.FindIDs(t.Context(), []string{"12345678", "123456789"})
	if err != nil || len(seqs) != 1 || !slices.Equal(missing, []string{"123456789"}) {
		t.Errorf("found %v, not %v, %v", seqs, missing, err)
	}
}
