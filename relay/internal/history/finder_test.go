package history

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// secret is in the payload and the headers of every event of these tests.
const secret = "for the consumer only"

// fixture is an outbox table with two delivered and two undelivered events.
type fixture struct {
	*testing.T
	pool *pgxpool.Pool
	Finder
}

func id(n string) string { return "00000000-0000-0000-0000-00000000000" + n }

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, pool: outboxtest.NewPool(t), Finder: Finder{Slot: "slot", Table: outboxtable.Table{
		Schema: "public", Name: "outbox_events",
		Columns: outboxtable.Columns{
			ID: "id", Sequence: "seq", XID: "xid", AggregateType: "aggregate_type", AggregateID: "aggregate_id",
			EventType: "event_type", CreatedAt: "created_at",
		},
	}}}
	f.insert("1", "a")
	f.insert("2", "b")
	f.exec(`INSERT INTO relay_checkpoints (slot_name, outbox_table, epoch, system_identifier, horizon)
		VALUES ('slot', 'public.outbox_events', 1, '', pg_current_snapshot())`)
	f.insert("3", "b")
	f.insert("4", "c")
	return f
}

func (f *fixture) insert(n, aggregate string) {
	f.Helper()
	f.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, headers)
		VALUES ($1, 'order', $2, 'order.created', to_json($3::text), jsonb_build_object('secret', $3::text))`,
		id(n), aggregate, secret)
}

func (f *fixture) insertMany(rows int) {
	f.Helper()
	f.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), '', '', 'many', '1' FROM generate_series(1, $1)`, rows)
}

func (f *fixture) park(n, aggregate, state string) {
	f.Helper()
	f.exec(`INSERT INTO outbox_dead_letters
			(event_id, outbox_table, destination, message_group, blocks_group, code, reason, attempts, event, state)
		VALUES ($1, 'public.outbox_events', 'orders', $2, true, 'TooLarge', 'too large', 2, to_json($3::text), $4)`,
		id(n), "order/"+aggregate, secret, state)
}

func (f *fixture) exec(sql string, args ...any) {
	f.Helper()
	if _, err := f.pool.Exec(f.Context(), sql, args...); err != nil {
		f.Fatal(err)
	}
}

// find returns the history of an event, and checks that the answer contains no payload.
func (f *fixture) find(id string) *One {
	f.Helper()
	found, err := f.Find(f.Context(), f.pool, id)
	if err != nil {
		f.Fatal(err)
	}
	if text, err := json.Marshal(found); err != nil || strings.Contains(string(text), secret) {
		f.Errorf("the answer is %v, %s", err, text)
	}
	return found
}

func TestEachEventHasTheStateThatIsKnown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.park("2", "b", "parked")
	f.Recent = &Recent{}
	all, results := request(-1, id("4"))
	f.Recent.Accepted("orders", time.Now(), all, results)
	for n, want := range map[string]struct{ state, reason string }{
		"1": {Done, "the checkpoint counts it as delivered"},
		"2": {Parked, "dead letter 1 is parked: TooLarge: too large"},
		"3": {Waiting, "dead letter 1 blocks its aggregate"},
		"4": {Accepted, ""},
		"9": {Unknown, "the table has no such event"},
	} {
		found := f.find(id(n))
		if found.ID != id(n) || found.State != want.state || !strings.HasPrefix(found.Reason, want.reason) ||
			found.Found != (n != "9") {
			t.Errorf("event %s is %+v, want %+v", n, found, want)
		}
	}
	if found := f.find(id("3")); found.Type != "order.created" || found.AggregateID != "b" || found.CreatedAt == "" ||
		*found.Sequence != 3 {
		t.Errorf("event 3 is %+v", found)
	}
	f.exec(`UPDATE outbox_dead_letters SET state = 'redriven'`)
	if found := f.find(id("3")); found.State != Waiting ||
		!strings.Contains(found.Reason, "does not count it as delivered yet") {
		t.Errorf("event 3 is %+v", found)
	}
	if found := f.find(id("2")); found.State != Done || len(found.DeadLetters) != 1 {
		t.Errorf("event 2 is %+v", found)
	}
}

func TestAnEventWithoutARowIsKnownByItsTraces(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.park("2", "b", "parked")
	f.exec(`DELETE FROM outbox_events`)
	if found := f.find(id("2")); found.State != Parked || !found.Found {
		t.Errorf("event 2 is %+v", found)
	}
	for _, strange := range []string{"no uuid", "'; DROP TABLE outbox_events"} {
		if found := f.find(strange); found.Found || found.State != Unknown {
			t.Errorf("%q is %+v", strange, found)
		}
	}
}

func TestATableWithoutIndexIsNotSearched(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.exec(`ALTER TABLE outbox_events DROP CONSTRAINT outbox_events_pkey`)
	f.exec(`DROP INDEX outbox_events_seq_key, outbox_events_xid_idx`)
	if found := f.find(id("1")); found.Found || found.State != Unknown || found.Reason != "the table was not searched" {
		t.Errorf("event 1 is %+v", found)
	}
	last, err := f.Last(t.Context(), f.pool)
	if err != nil || len(last.Events) > 0 || last.Waiting != nil || len(last.Unknown) != 4 {
		t.Errorf("the last events are %+v, %v", last, err)
	}
}

// TestEventsAreFoundByIndexes: a search in a large table must not read all of it.
func TestEventsAreFoundByIndexes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.insertMany(5000)
	f.exec(`ANALYZE outbox_events`)
	for rest, args := range map[string][]any{
		"AND {id} = ($2::text)::uuid LIMIT 1": {nil, id("1")},
		"ORDER BY {seq} DESC LIMIT $2":        {nil, 20},
	} {
		rows, err := f.pool.Query(t.Context(), "EXPLAIN "+query(f.Table, rest), args...)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if text := strings.Join(plan, "\n"); err != nil || !strings.Contains(text, "Index Scan") ||
			strings.Contains(text, "Seq Scan") {
			t.Errorf("%s: %v\n%s", rest, err, text)
		}
	}
}

func TestTheLastEventsComeFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	last, err := f.Last(t.Context(), f.pool)
	if err != nil {
		t.Fatal(err)
	}
	var order string
	for _, e := range last.Events {
		order += e.ID[len(e.ID)-1:] + e.State + " "
	}
	if order != "4waiting 3waiting 2done 1done " || last.Waiting == nil || last.Waiting.Events != 2 ||
		last.Waiting.More ||
		last.Waiting.OldestAt != last.Events[1].CreatedAt {
		t.Errorf("the last are %s, %+v waits", order, last.Waiting)
	}
	f.insertMany(1000)
	if last, err = f.Last(t.Context(), f.pool); err != nil || last.Waiting.Events != counted || !last.Waiting.More ||
		len(last.Events) != shownEvents {
		t.Errorf("%v, %+v waits, %d events", err, last.Waiting, len(last.Events))
	}
}

func TestAnIDThatIsNoTextIsRefused(t *testing.T) {
	t.Parallel()
	h := &Handler{}
	for _, id := range []string{"\x00", "\xff", strings.Repeat("x", longestAsked+1)} {
		r := httptest.NewRequest(http.MethodGet, "/events/x", nil)
		r.SetPathValue("id", id)
		w := httptest.NewRecorder()
		if h.One(w, r); w.Code != http.StatusBadRequest {
			t.Errorf("%q is answered with %d", id, w.Code)
		}
	}
}

// TestEventsAreShownAsTheStreamBringsThem: the dead letters and the memory of the relay have the
// same texts. An id may be written in another way, and is never cut off.
func TestEventsAreShownAsTheStreamBringsThem(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.exec(`CREATE TABLE own (id char(8) PRIMARY KEY, seq bigint UNIQUE, xid xid8, aggregate_type boolean,
		aggregate_id char(4), event_type inet, created_at timestamptz)`)
	f.exec(`INSERT INTO own VALUES ('a', 1, '3', true, '7', '10.0.0.1', now()),
		('12345678', 2, '3', true, '7', '10.0.0.1', now())`)
	const letter = `INSERT INTO outbox_dead_letters
		(event_id, outbox_table, destination, message_group, blocks_group, code, reason, attempts, event)
		VALUES ($1, $2, 'orders', '', false, 'TooLarge', 'too large', 2, '{}')`
	const parked = "abcdef00-0000-0000-0000-000000000000"
	f.exec(letter, parked, "public.outbox_events")
	f.exec(letter, "b       ", "public.own")
	if found := f.find(strings.ToUpper(parked)); found.ID != parked || found.State != Parked {
		t.Errorf("the id in capitals is %+v", found)
	}
	f.Table.Name = "own"
	found := f.find("a")
	if !found.Found || found.ID != "a       " || found.AggregateType != "t" || found.AggregateID != "7   " ||
		found.Type != "10.0.0.1" {
		t.Errorf("the event is %+v", found)
	}
	if found := f.find("b"); found.ID != "b       " || found.State != Parked {
		t.Errorf("the parked event is %+v", found)
	}
	if found := f.find("123456789"); found.Found || found.ID != "123456789" {
		t.Errorf("an id that is too long is %+v", found)
	}
	last, err := f.Last(t.Context(), f.pool)
	if err != nil || len(last.Events) != 2 || last.Events[1].ID != "a       " {
		t.Errorf("the last events are %+v, %v", last, err)
	}
}
