package inbox_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

func TestRepeatedEventIsNotNew(t *testing.T) {
	t.Parallel()
	pool, _ := newInbox(t)
	replayed := ofOrder("a", 1)
	replayed.Replay = 3
	expect(t, pool, []inbox.Event{ofOrder("a", 1), ofOrder("a", 1), replayed, ofOrder("b", 1)},
		[]bool{true, false, false, true})
}

func TestConsumersDoNotShareTheirEvents(t *testing.T) {
	t.Parallel()
	pool, _ := newInbox(t)
	for _, consumer := range []string{"shipping", "billing", "shipping/orders"} {
		for _, want := range []bool{true, false} {
			err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				isNew, err := inbox.Once(t.Context(), tx, consumer, ofOrder("a", 1), inbox.SkipStale())
				if isNew != want {
					t.Errorf("%s: new %t, want %t", consumer, isNew, want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRollbackForgetsTheEvent(t *testing.T) {
	t.Parallel()
	pool, _ := newInbox(t)
	failed := errors.New("no parcel left")
	for _, options := range [][]inbox.Option{nil, {inbox.SkipStale()}} {
		for range 2 {
			err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				isNew, err := inbox.Once(t.Context(), tx, "shipping", ofOrder("a", 1), options...)
				if !isNew || err != nil {
					t.Errorf("new %t, %v", isNew, err)
				}
				return failed
			})
			if !errors.Is(err, failed) {
				t.Fatal(err)
			}
		}
	}
	if n := count(t, pool, "inbox_events") + count(t, pool, "inbox_aggregates"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestRolledBackSavepointForgetsTheEvent(t *testing.T) {
	t.Parallel()
	pool, _ := newInbox(t)
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		savepoint, err := tx.Begin(t.Context())
		if err != nil {
			return err
		}
		first, err := inbox.Once(t.Context(), savepoint, "shipping", ofOrder("a", 1))
		if err := errors.Join(err, savepoint.Rollback(t.Context())); err != nil {
			return err
		}
		second, err := inbox.Once(t.Context(), tx, "shipping", ofOrder("a", 1))
		if !first || !second {
			t.Errorf("new %t, then %t", first, second)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestErrorsNameWhatToDo(t *testing.T) {
	t.Parallel()
	pool, _ := newInbox(t)
	bare := connect(t, pgtest.NewDatabase(t))
	noSequence := ofOrder("a", 1)
	noSequence.Sequence = nil
	for name, c := range map[string]struct {
		db       beginner
		consumer string
		event    inbox.Event
		options  []inbox.Option
		want     []string
	}{
		"no table":    {bare, "shipping", ofOrder("a", 1), nil, []string{"event a", "shipping", "001_inbox.sql"}},
		"no consumer": {pool, "", ofOrder("a", 1), nil, []string{"event a", "consumer has no name"}},
		"no id":       {pool, "shipping", ofOrder("", 1), nil, []string{`type "order.changed"`, "shipping", "no id"}},
		"no sequence": {
			pool, "shipping", noSequence,
			[]inbox.Option{inbox.SkipStale()},
			[]string{"event a", "no sequence", "RELAY_COLUMN_SEQUENCE"},
		},
	} {
		err := pgx.BeginFunc(t.Context(), c.db, func(tx pgx.Tx) error {
			isNew, err := inbox.Once(t.Context(), tx, c.consumer, c.event, c.options...)
			if isNew {
				t.Errorf("%s: new", name)
			}
			return err
		})
		for _, part := range c.want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, want %q", name, err, part)
			}
		}
		refused := (*pgconn.PgError)(nil)
		if name == "no table" && (!errors.As(err, &refused) || refused.Code != pgerrcode.UndefinedTable) {
			t.Errorf("the error of Postgres is lost: %v", err)
		}
	}
}

func TestStaleEventIsNotNew(t *testing.T) {
	t.Parallel()
	pool, _ := newInbox(t)
	other := ofOrder("other", 1)
	other.AggregateID = "4712"
	expect(t, pool,
		[]inbox.Event{
			ofOrder("c", 30), ofOrder("a", 10), ofOrder("a", 10), ofOrder("same", 30), other, ofOrder("d", 31),
		},
		[]bool{true, false, false, false, true, true}, inbox.SkipStale())
}

func TestGapsBetweenSequencesAreNoObstacle(t *testing.T) {
	t.Parallel()
	pool, _ := newInbox(t)
	expect(t, pool, []inbox.Event{ofOrder("a", -5), ofOrder("b", 0), ofOrder("c", 9223372036854775807)},
		[]bool{true, true, true}, inbox.SkipStale())
}

func TestEventsOfNoAggregateAreNeverStale(t *testing.T) {
	t.Parallel()
	pool, _ := newInbox(t)
	late, early, unnumbered := ofOrder("late", 2), ofOrder("early", 1), ofOrder("unnumbered", 0)
	late.AggregateID, early.AggregateID, unnumbered.AggregateID, unnumbered.Sequence = "", "", "", nil
	expect(t, pool, []inbox.Event{late, early, unnumbered, early}, []bool{true, true, true, false},
		inbox.SkipStale())
}

// TestStaleEventStaysStaleAfterPruning: a redelivery after the age finds no id.
func TestStaleEventStaysStaleAfterPruning(t *testing.T) {
	t.Parallel()
	pool, _ := newInbox(t)
	expect(t, pool, []inbox.Event{ofOrder("a", 1), ofOrder("b", 2)}, []bool{true, true}, inbox.SkipStale())
	if _, err := pool.Exec(t.Context(), `DELETE FROM inbox_events`); err != nil {
		t.Fatal(err)
	}
	expect(t, pool, []inbox.Event{ofOrder("a", 1), ofOrder("b", 2), ofOrder("c", 3)}, []bool{false, false, true},
		inbox.SkipStale())
}

// TestSkipStaleKnowsEarlierIDs: a consumer may begin to skip stale events later.
func TestSkipStaleKnowsEarlierIDs(t *testing.T) {
	t.Parallel()
	pool, _ := newInbox(t)
	expect(t, pool, []inbox.Event{ofOrder("a", 1)}, []bool{true})
	expect(t, pool, []inbox.Event{ofOrder("a", 1), ofOrder("b", 2)}, []bool{false, true}, inbox.SkipStale())
}
