package e2e_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/deadletter"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/replay"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// claimed creates a checkpoint row and a slot, which this process holds until the test ends.
func (w *testEnv) claimed() (*checkpoint.Store, slot.Fence) {
	w.t.Helper()
	w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.slot)
	config, err := pgx.ParseConfig(w.url)
	w.must(err)
	stream, err := replication.Open(w.t.Context(), replication.Config{
		Connection: &config.Config, Slot: w.slot, Publication: "outbox_pub", SenderTimeout: 2 * patience,
	})
	w.must(err)
	w.t.Cleanup(stream.Close)
	w.must(stream.Start(w.t.Context(), 0))
	store := checkpoint.NewStore(w.pool, w.slot)
	w.must(store.Create(w.t.Context(), checkpoint.Row{
		Table: "public.outbox_events", SystemIdentifier: "1", Horizon: "3:3:",
		Position: checkpoint.Position{FlushLSN: 1},
		Recovery: &checkpoint.Recovery{From: "3:3:", To: "4:4:"},
	}))
	fence, _, err := store.Claim(w.t.Context(), stream.PID())
	w.must(err)
	return store, fence
}

// fencedWrite is a write that needs the fence of the holder.
type fencedWrite func(context.Context, slot.Fence) error

// checkpointWrites returns all writes to the checkpoint row.
func checkpointWrites(store *checkpoint.Store, overtaken, dispossessed slot.Fence) map[string]fencedWrite {
	return map[string]fencedWrite{
		"claim": func(ctx context.Context, f slot.Fence) error {
			if f == overtaken {
				return slot.ErrFenced // skipped, because a claim raises the epoch itself
			}
			_, _, err := store.Claim(ctx, f.PID)
			return err
		},
		"position": func(ctx context.Context, f slot.Fence) error {
			return store.Save(ctx, f, checkpoint.Position{FlushLSN: 2}, checkpoint.Horizon{Snapshot: "5:5:"})
		},
		"beginning of a recovery": func(ctx context.Context, f slot.Fence) error {
			if f == dispossessed {
				return slot.ErrFenced // skipped, because this write needs no slot
			}
			return store.BeginRecovery(ctx, f.Epoch, "1", "", false)
		},
		"first start repeated": func(ctx context.Context, f slot.Fence) error {
			if f == dispossessed {
				return slot.ErrFenced // skipped, because this write needs no slot
			}
			return store.RestartRecovery(ctx, f.Epoch, "1", "2026-01-31T00:00:00Z")
		},
		"end of a recovery": func(ctx context.Context, f slot.Fence) error {
			return store.SetRecoveryEnd(ctx, f, "6:6:", "fingerprint", 3)
		},
		"completion of a recovery": func(ctx context.Context, f slot.Fence) error {
			return store.FinishRecovery(ctx, f)
		},
	}
}

// otherWrites returns all other writes of a holder.
func (w *testEnv) otherWrites() map[string]fencedWrite {
	w.t.Helper()
	table := outboxtable.Table{Schema: "public", Name: "outbox_events"}
	requested, err := replay.NewOperator(w.pool, w.slot, table).Begin(w.t.Context(), replay.Plan{Horizon: "3:3:"}, 1)
	w.must(err)
	return map[string]fencedWrite{
		"dead letter": func(ctx context.Context, f slot.Fence) error {
			return deadletter.NewStore(w.pool, f, "public.outbox_events").Park(ctx,
				delivery.DeadLetter{Message: &sink.Message{EventID: "1"}})
		},
		"progress of a replay": func(ctx context.Context, f slot.Fence) error {
			_, err := replay.NewStore(w.pool, f, table).Passed(ctx, requested, replay.Page{}, replay.Outcome{})
			return err
		},
		"completion of a replay": func(ctx context.Context, f slot.Fence) error {
			return replay.NewStore(w.pool, f, table).Finish(ctx, requested)
		},
		"lease": func(ctx context.Context, f slot.Fence) error {
			seen, err := slot.Observe(ctx, w.pool, f,
				slot.Publication{Name: "outbox_pub", Table: "public.outbox_events"})
			if err == nil && !seen.Held {
				err = slot.ErrFenced
			}
			return err
		},
	}
}

func TestNothingIsWrittenWithoutTheSlotAndItsEpoch(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	store, holder := w.claimed()
	overtaken, dispossessed := holder, holder
	overtaken.Epoch--
	dispossessed.PID++
	writes := checkpointWrites(store, overtaken, dispossessed)
	maps.Copy(writes, w.otherWrites())
	for name, write := range writes {
		for loss, fence := range map[string]slot.Fence{"another epoch": overtaken, "another process": dispossessed} {
			if err := write(t.Context(), fence); !errors.Is(err, slot.ErrFenced) {
				t.Errorf("%s, after %s: %v, want %v", name, loss, err, slot.ErrFenced)
			}
		}
	}
	// the holder's own write succeeds
	w.must(store.Save(t.Context(), holder, checkpoint.Position{FlushLSN: 2}, checkpoint.Horizon{}))
}

// A session that ends gives its writes up, and the server may execute one of them after the last.
func TestALateWriteDoesNotMoveThePositionBack(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	store, holder := w.claimed()
	last := checkpoint.Position{
		FlushLSN: 7, Transaction: checkpoint.Transaction{CommitLSN: 9, Delivered: 3, LastEventID: "3"},
	}
	late := checkpoint.Position{
		FlushLSN: 4, Transaction: checkpoint.Transaction{CommitLSN: 6, Delivered: 5, LastEventID: "5"},
	}
	for _, p := range []checkpoint.Position{last, late} {
		w.must(store.Save(t.Context(), holder, p, checkpoint.Horizon{}))
	}
	row, err := store.Load(t.Context())
	w.must(err)
	if row.Position != last {
		t.Errorf("the row has %+v, want %+v", row.Position, last)
	}
	resent := last
	resent.Transaction = checkpoint.Transaction{} // the row counted other rows
	w.must(store.Save(t.Context(), holder, resent, checkpoint.Horizon{}))
	row, err = store.Load(t.Context())
	w.must(err)
	if row.Position != resent {
		t.Errorf("the row has %+v, want %+v", row.Position, resent)
	}
}

func TestSlotIsInspectedOnlyOnceItIsAcquired(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"skipped":true}`))
	between, through := w.newNetwork()
	acquiring := between.HoldBack("START_REPLICATION")
	w.start("DATABASE_URL=" + through)
	w.await(acquiring)
	// the last moment at which the slot can still be advanced
	w.advanceSlot()
	acquiring.Pass()
	w.awaitBody(`{"skipped":true}`)
}

func TestThawedRelayPublishesNothingAfterItsLease(t *testing.T) {
	t.Parallel()
	const timeout, lease = 4 * time.Second, 2700 * time.Millisecond // 3/4 of 9/10 of the timeout
	w := newTestEnv(t, "orders.fifo")
	between, through := w.newNetwork()
	second := between.HoldBack(`{"n":2}`)
	frozen := w.startStreaming("DATABASE_URL="+through, "RELAY_WAL_SENDER_TIMEOUT="+timeout.String())
	unavailable := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Throttle())
	w.commit(event(t, "1", `{"n":1}`))
	w.commit(event(t, "2", `{"n":2}`))
	w.await(second)
	frozen.awaitLog("attempt=3") // the relay now waits for its next attempt
	second.Pass()                // the last message that the relay receives before it is frozen
	w.must(frozen.cmd.Process.Signal(syscall.SIGSTOP))
	over := time.After(lease + 200*time.Millisecond)
	between.Silence() // so that the thawed relay receives nothing
	w.exec(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1`, w.slot)
	w.startStreaming()
	unavailable.Clear()
	w.awaitAll(2)
	<-over
	w.must(frozen.cmd.Process.Signal(syscall.SIGCONT))
	frozen.awaitLog("event=session_ended")
	for body, times := range w.bodies() {
		if times > 1 {
			t.Errorf("%s was published %d times", body, times)
		}
	}
}

// A relay that is cut off may publish until its lease expires, three quarters of the server's
// timeout after its last status update. The server must not give the slot to another relay before
// that.
func TestServerTimeoutNeverPrecedesTheLease(t *testing.T) {
	t.Parallel()
	const serverTimeout = 8 * time.Second * 9 / 10
	w := newTestEnv(t, "orders")
	// the log is idle, so only the relay's clock triggers status updates
	w.startStreaming("RELAY_WAL_SENDER_TIMEOUT=8s")
	// Otherwise the server asks for one after half of its timeout. A stall of the machine delays a
	// few.
	soon, last := 0, w.replyTime()
	w.eventually("three status updates in turn arrive soon after the one before", func() bool {
		switch at := w.replyTime(); {
		case at.Equal(last):
		case at.Sub(last) <= serverTimeout/4:
			soon, last = soon+1, at
		default:
			soon, last = 0, at
		}
		return soon == 3
	})
}

// replyTime returns when the relay sent the last status update that its walsender has received, and
// the zero time before the first.
func (w *testEnv) replyTime() time.Time {
	w.t.Helper()
	admin, err := pgx.Connect(w.t.Context(), pgtest.SuperuserURL(w.t, w.url))
	w.must(err)
	defer admin.Close(w.t.Context())
	var at time.Time
	err = admin.QueryRow(w.t.Context(), `SELECT r.reply_time FROM pg_stat_replication r
		JOIN pg_replication_slots s ON s.active_pid = r.pid
		WHERE s.slot_name = $1 AND r.reply_time IS NOT NULL`, w.slot).Scan(&at)
	if !errors.Is(err, pgx.ErrNoRows) {
		w.must(err)
	}
	return at
}

func TestSlotOfAnotherDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(w *testEnv, createSlot func()) *process{
		"first start": func(w *testEnv, createSlot func()) *process {
			createSlot()
			return w.start()
		},
		"own slot dropped": func(w *testEnv, createSlot func()) *process {
			w.startStreaming().stop()
			w.dropSlot()
			createSlot()
			return w.start()
		},
		"own slot dropped during the acquisition": func(w *testEnv, createSlot func()) *process {
			w.startStreaming().stop()
			between, through := w.newNetwork()
			acquiring := between.HoldBack("START_REPLICATION")
			p := w.start("DATABASE_URL=" + through)
			w.await(acquiring)
			w.dropSlot()
			createSlot()
			acquiring.Pass()
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders")
			other, err := pgx.Connect(t.Context(), pgtest.NewDatabase(t))
			w.must(err)
			defer other.Close(t.Context())
			p := start(w, func() {
				_, err := other.Exec(t.Context(), `SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.slot)
				w.must(err)
			})
			if err := p.wait(); err == nil || !strings.Contains(p.log.String(), "choose another name with RELAY_SLOT") {
				t.Errorf("the relay ended with %v", err)
			}
			if w.query(`SELECT (database <> current_database())::text FROM pg_replication_slots
				WHERE slot_name = $1`, w.slot) != "true" {
				t.Error("the slot of the other database is gone")
			}
		})
	}
}
