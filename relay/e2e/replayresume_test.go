package e2e_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// holdReplayFrom makes the broker fail replayed events whose number is n or higher, until the rule
// is cleared.
func (w *testEnv) holdReplayFrom(n int) *fakeaws.Rule {
	return w.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Entry: func(m *fakeaws.Message) bool {
		var number int
		_, err := fmt.Sscanf(m.Body, `{"n" : %d}`, &number)
		return err == nil && number >= n && attribute(m.Attributes, outbox.AttributeReplay) != ""
	}}, fakeaws.FailEntries("InternalError", "held by the test", false))
}

// passed reports whether the replay has sent at least n events.
func (w *testEnv) passed(n int) bool {
	return w.query(`SELECT (sent >= $1)::text FROM outbox_replays`, n) == "true"
}

func TestReplayResumesAfterAKill(t *testing.T) {
	t.Parallel()
	for _, standby := range []bool{false, true} {
		t.Run(fmt.Sprintf("standby %v", standby), func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			holder := w.deliver(60)
			held := w.holdReplayFrom(31)
			if standby {
				w.start().awaitLog("event=standby")
			}
			w.replay("--since", "2026-01-01T00:00:00Z", "--rate", "100", "--yes", "--no-wait")
			w.eventually("a part is sent", func() bool { return w.passed(20) })
			w.must(held.AwaitHits(t.Context(), 1))
			holder.kill()
			held.Clear()
			if !standby {
				w.startStreaming()
			}
			if out := w.replay("--resume", "1"); !strings.Contains(out, "60 of 60 events sent") {
				t.Errorf("replay said: %s", out)
			}
			w.checkReplayedInOrder(60)
		})
	}
}

func TestNewEventsKeepTheirOrderDuringAReplay(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.deliver(200)
	load := w.startWriter(4, 10*time.Millisecond)
	w.replay("--since", "2026-01-01T00:00:00Z", "--until", "2026-02-01T00:00:00Z", "--rate", "400", "--yes")
	written, err := load.stop()
	w.must(err)
	w.awaitAll(200 + written)
	w.checkReplayedInOrder(200)
	last := map[string]int{}
	for _, r := range w.broker.Received(w.queue.ARN)[200:] {
		var v version
		if _, err := fmt.Sscanf(r.Body, `{"aggregate":%d,"version":%d}`, &v.Aggregate, &v.Version); err != nil {
			continue // replayed
		}
		if v.Version != last[r.GroupID]+1 {
			t.Errorf("group %s: %s after version %d", r.GroupID, r.Body, last[r.GroupID])
		}
		last[r.GroupID] = v.Version
	}
}

func TestReplayKeepsToItsRate(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.deliver(30)
	began := time.Now()
	w.replay("--since", "2026-01-01T00:00:00Z", "--rate", "15", "--yes")
	if took := time.Since(began); took < 1900*time.Millisecond {
		t.Errorf("30 events took %v", took)
	}
}

func TestInterruptedReplayResumesWithoutRepetition(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.deliver(60)
	held := w.holdReplayFrom(31)
	p := w.launch(relayBinary, nil, "replay", "--since", "2026-01-01T00:00:00Z", "--yes")
	w.eventually("a part is sent", func() bool { return w.passed(20) })
	p.awaitLog("a second, ") // the command reports its progress
	if output, err := w.command(nil, "replay", "--aggregate", "order/1", "--yes"); err == nil ||
		!strings.Contains(output, "replay 1 is under way") {
		t.Errorf("a second replay: %v: %s", err, output)
	}
	w.must(p.cmd.Process.Signal(syscall.SIGINT))
	if err := p.wait(); err == nil || !strings.Contains(p.log.String(), "relay replay --resume 1 continues it") {
		t.Errorf("the command ended with %v: %s", err, p.log)
	}
	held.Clear()
	w.eventually("the page in flight arrives", func() bool { return w.passed(31) })
	w.awaitStatus(0, "1 is stopped: ")
	if len(w.replayed()) == 60 {
		t.Error("the replay was not stopped")
	}
	if out := w.replay("--resume", "1", "--rate", "1000"); !strings.Contains(out, "60 of 60 events sent") {
		t.Errorf("replay said: %s", out)
	}
	w.checkReplayedInOrder(60)
	for _, r := range w.broker.Received(w.queue.ARN) {
		if r.Duplicate {
			t.Errorf("%s was sent twice", r.Body)
		}
	}
	if out := w.replay("--stop", "1"); !strings.Contains(out, "replay 1 is done") {
		t.Errorf("stop said: %s", out)
	}
}
