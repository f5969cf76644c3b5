package e2e_test

import (
	"context"
	"errors"
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
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/replay"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// claimed makes a checkpoint row and a slot, which this process holds until the test ends.
func (w *world) claimed() (*checkpoint.Store, slot.Fence) {
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
		Table: "public.outbox_events", SystemIdentifier: "1", Horizon: "3:3:", Position: checkpoint.Position{FlushLSN: 1},
		Recovery: &checkpoint.Recovery{From: "3:3:", To: "4:4:"},
	}))
	fence, _, err := store.Claim(w.t.Context(), stream.PID())
	w.must(err)
	return store, fence
}

func TestNothingIsWrittenWithoutTheSlotAndItsEpoch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "orders")
	store, holder := w.claimed()
	overtaken, dispossessed := holder, holder
	overtaken.Epoch--
	dispossessed.PID++
	table := pgoutput.Table{Schema: "public", Name: "outbox_events"}
	asked, err := replay.NewOperator(w.pool, w.slot, table).Begin(t.Context(), replay.Plan{Horizon: "3:3:"}, 1)
	w.must(err)
	for name, write := range map[string]func(context.Context, slot.Fence) error{
		"claim": func(ctx context.Context, f slot.Fence) error {
			if f == overtaken {
				return slot.ErrFenced // it is the claim that raises the epoch
			}
			_, _, err := store.Claim(ctx, f.PID)
			return err
		},
		"position": func(ctx context.Context, f slot.Fence) error {
			return store.Save(ctx, f, checkpoint.Position{FlushLSN: 2}, checkpoint.Horizon{Snapshot: "5:5:"})
		},
		"begin of recovery": func(ctx context.Context, f slot.Fence) error {
			if f == dispossessed {
				return slot.ErrFenced // there is no slot to hold
			}
			return store.BeginRecovery(ctx, f.Epoch, "1", "", false)
		},
		"begin anew": func(ctx context.Context, f slot.Fence) error {
			if f == dispossessed {
				return slot.ErrFenced // there is no slot to hold
			}
			return store.BeginAnew(ctx, f.Epoch, "1", "2026-01-31T00:00:00Z")
		},
		"end of recovery": func(ctx context.Context, f slot.Fence) error {
			return store.SetRecoveryEnd(ctx, f, "6:6:", "fingerprint", 3)
		},
		"recovery is done": func(ctx context.Context, f slot.Fence) error { return store.FinishRecovery(ctx, f) },
		"dead letter": func(ctx context.Context, f slot.Fence) error {
			return deadletter.NewStore(w.pool, f, "public.outbox_events").Park(ctx, delivery.DeadLetter{Message: &sink.Message{EventID: "1"}})
		},
		"how far a replay is": func(ctx context.Context, f slot.Fence) error {
			_, err := replay.NewStore(w.pool, f, table).Passed(ctx, asked, replay.Page{}, replay.Outcome{})
			return err
		},
		"replay is done": func(ctx context.Context, f slot.Fence) error {
			return replay.NewStore(w.pool, f, table).Finish(ctx, asked)
		},
		"lease": func(ctx context.Context, f slot.Fence) error {
			seen, err := slot.Observe(ctx, w.pool, f, slot.Publication{Name: "outbox_pub", Table: "public.outbox_events"})
			if err == nil && !seen.Held {
				err = slot.ErrFenced
			}
			return err
		},
	} {
		for loss, fence := range map[string]slot.Fence{"another epoch": overtaken, "another process": dispossessed} {
			if err := write(t.Context(), fence); !errors.Is(err, slot.ErrFenced) {
				t.Errorf("%s, after %s: %v, want %v", name, loss, err, slot.ErrFenced)
			}
		}
	}
	w.must(store.Save(t.Context(), holder, checkpoint.Position{FlushLSN: 2}, checkpoint.Horizon{})) // by the holder it is
}

func TestSlotIsJudgedOnlyOnceItIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "orders.fifo")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"skipped":true}`))
	between, through := w.newNetwork()
	taking := between.HoldBack("START_REPLICATION")
	w.start("DATABASE_URL=" + through)
	w.await(taking)
	w.exec(`SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())`, w.slot) // at the last moment at which it can be
	taking.Pass()
	w.awaitBody(`{"skipped":true}`)
}

func TestThawedRelayPublishesNothingOnceItsLeaseIsOver(t *testing.T) {
	t.Parallel()
	const timeout, lease = 4 * time.Second, 2700 * time.Millisecond // three quarters of nine tenths
	w := newWorld(t, "orders.fifo")
	between, through := w.newNetwork()
	second := between.HoldBack(`{"n":2}`)
	frozen := w.startStreaming("DATABASE_URL="+through, "RELAY_WAL_SENDER_TIMEOUT="+timeout.String())
	away := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Throttle())
	w.commit(event(t, "1", `{"n":1}`))
	w.commit(event(t, "2", `{"n":2}`))
	w.await(second)
	frozen.awaitLog("attempt=3") // and waits for the next
	second.Pass()                // the last that it hears before it is frozen
	w.must(frozen.cmd.Process.Signal(syscall.SIGSTOP))
	over := time.After(lease + 200*time.Millisecond)
	between.Silence() // so that it learns of nothing when it is thawed
	w.exec(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1`, w.slot)
	w.startStreaming()
	away.Clear()
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

// TestTheServersTimeBeginsNoEarlierThanTheLeaseAllows: a relay that is cut off may publish until its lease is over, three quarters of the
// server's time after its last status update. By then the server must not have given the slot to another one.
func TestTheServersTimeBeginsNoEarlierThanTheLeaseAllows(t *testing.T) {
	t.Parallel()
	const serversTime = 8 * time.Second * 9 / 10
	w := newWorld(t, "orders")
	w.startStreaming("RELAY_WAL_SENDER_TIMEOUT=8s") // and nothing is written: only the clock makes it say anything
	admin, err := pgx.Connect(t.Context(), pgtest.SuperuserURL(t, w.url))
	w.must(err)
	defer admin.Close(t.Context())
	looks := 0
	for began := time.Now(); time.Since(began) < serversTime*2/3; time.Sleep(20 * time.Millisecond) {
		var silence *time.Duration
		w.must(admin.QueryRow(t.Context(), `SELECT clock_timestamp() - r.reply_time FROM pg_stat_replication r
			JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_name = $1`, w.slot).Scan(&silence))
		switch {
		case silence == nil: // it has just begun
		case *silence > serversTime/4:
			t.Fatalf("the server has heard nothing for %s", silence)
		default:
			looks++
		}
	}
	if looks == 0 {
		t.Error("the server has heard nothing at all")
	}
}

func TestSlotOfAnotherDatabaseIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(w *world, makeSlot func()) *process{
		"first start": func(w *world, makeSlot func()) *process {
			makeSlot()
			return w.start()
		},
		"own slot gone": func(w *world, makeSlot func()) *process {
			w.startStreaming().stop()
			w.dropSlot()
			makeSlot()
			return w.start()
		},
		"own slot gone as the relay takes it": func(w *world, makeSlot func()) *process {
			w.startStreaming().stop()
			between, through := w.newNetwork()
			taking := between.HoldBack("START_REPLICATION")
			p := w.start("DATABASE_URL=" + through)
			w.await(taking)
			w.dropSlot()
			makeSlot()
			taking.Pass()
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "orders")
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
			if w.query(`SELECT (database <> current_database())::text FROM pg_replication_slots WHERE slot_name = $1`, w.slot) != "true" {
				t.Error("the slot of the other database is gone")
			}
		})
	}
}
