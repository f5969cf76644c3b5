package deferral

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

const (
	// statementTime is how long each statement of a pass takes.
	statementTime = 2 * time.Millisecond
	requestTime   = 15 * time.Millisecond
	// aboveSeq is the difference between the xid of a row and its seq. Each transaction writes one.
	aboveSeq = 10
)

// memoryTable is an outbox table in memory. Its rows are visible once they are written, and the
// position of the log is the seq of the last one.
type memoryTable struct {
	stored
	rows

	mu     sync.Mutex
	all    []outbox.Envelope
	at     []time.Time // when each was written
	joined bool
}

func (m *memoryTable) write(aggregate string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seq := len(m.all) + 1
	m.at = append(m.at, time.Now())
	m.all = append(m.all, outbox.Envelope{
		ID: strconv.Itoa(seq), Sequence: strconv.Itoa(seq), XID: strconv.Itoa(seq + aboveSeq),
		AggregateType: "t", AggregateID: aggregate, EventType: "t", Payload: strconv.Itoa(seq),
	})
}

// behind returns the rows behind a seq, at most limit.
func (m *memoryTable) behind(seq int64, limit int) []outbox.Envelope {
	m.mu.Lock()
	defer m.mu.Unlock()
	rest := m.all[min(int(seq), len(m.all)):]
	return rest[:min(limit, len(rest))]
}

func (m *memoryTable) writtenAt(seq int) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at[seq-1]
}

func (m *memoryTable) Observe(context.Context) (Observation, error) {
	time.Sleep(statementTime)
	m.mu.Lock()
	defer m.mu.Unlock()
	return Observation{
		Snapshot: fmt.Sprintf("%d:%[1]d:", len(m.all)+aboveSeq+1), LSN: pglogrepl.LSN(len(m.all)),
	}, nil
}

func (m *memoryTable) Pass(context.Context, Place, string, int64, int64) error {
	time.Sleep(statementTime)
	return nil
}

func (m *memoryTable) Join(context.Context, Place, string, pglogrepl.LSN) error {
	time.Sleep(statementTime)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.joined = true
	return nil
}

func (m *memoryTable) hasJoined() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.joined
}

func (m *memoryTable) withoutDeadLetters(
	_ context.Context, _ string, page []outbox.Envelope,
) ([]outbox.Envelope, error) {
	time.Sleep(statementTime)
	return page, nil
}

func (m *memoryTable) first(_ context.Context, _ *held, from mark) (int64, error) {
	time.Sleep(statementTime)
	late := int64(from.known.Next()) - aboveSeq
	if len(m.behind(late-1, 1)) == 0 {
		return from.fromSeq, nil
	}
	return min(from.fromSeq, late), nil
}

func (m *memoryTable) next(
	_ context.Context, h *held, from mark, to string, after int64, wants wanted,
) (look, error) {
	time.Sleep(statementTime)
	looked := m.behind(after, lookGroupRows)
	l := look{last: after + int64(len(looked)), end: len(looked) == 0}
	for i := range looked {
		e, seq := &looked[i], after+int64(i)+1
		xid := uint64(seq + aboveSeq)
		isDue := observed(to).Visible(xid) && !from.done(xid, seq) && h.stored.place().has(e)
		if isDue && wants(e, seq, h.seen.Visible(xid)) {
			l.seqs = append(l.seqs, seq)
		}
	}
	return l, nil
}

func (m *memoryTable) read(
	_ context.Context, seqs []int64, awaitRoom func() error, take func(page []outbox.Envelope) error,
) error {
	for _, seq := range seqs {
		if err := awaitRoom(); err != nil {
			return err
		}
		if err := take(slices.Clone(m.behind(seq-1, 1))); err != nil {
			return err
		}
	}
	return nil
}

func (m *memoryTable) isDropped(context.Context, *held) (bool, error) { return false, nil }

func (m *memoryTable) missing(context.Context, *held) (missing, error) { return missing{}, nil }

// slowQueue is a FIFO destination. It checks the order of each aggregate.
type slowQueue struct {
	t     *testing.T
	table *memoryTable

	mu      sync.Mutex
	last    map[string]int // seq, by message group
	slowest time.Duration  // of the events of other aggregates, since they were written
}

func (q *slowQueue) Limits() sink.Limits {
	return sink.Limits{FIFO: true, MaxMessageBytes: 1000, MaxBatchBytes: 10_000}
}

func (q *slowQueue) ReadLimits(context.Context) error { return nil }

func (q *slowQueue) Publish(_ context.Context, batch []*sink.Message) ([]sink.Result, error) {
	time.Sleep(requestTime)
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range batch {
		seq, err := strconv.Atoi(m.Body)
		if err != nil || seq <= q.last[m.GroupID] {
			q.t.Errorf("event %s of group %s arrived after event %d", m.Body, m.GroupID, q.last[m.GroupID])
		}
		if q.last[m.GroupID] = seq; m.GroupID != "t/busy" {
			q.slowest = max(q.slowest, time.Since(q.table.writtenAt(seq)))
		}
	}
	return make([]sink.Result, len(batch)), nil
}

func (q *slowQueue) slowestOther() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.slowest
}

// ignoring is an observer that ignores every call, and a lease that does not end.
type ignoring struct{ delivery.Observer }

func (ignoring) Delivered(string, []time.Duration)           {}
func (ignoring) MayPublish() error                           { return nil }
func (ignoring) Paced(string, float64, bool)                 {}
func (ignoring) Paused(string, bool)                         {}
func (ignoring) Requested(string, int, time.Duration, error) {}

// stream is a relay in memory, in which the events of aggregate busy wait in the table.
type stream struct {
	table   *memoryTable
	queue   *slowQueue
	tracker *checkpoint.Tracker
	worker  *Worker
	held    *held
	read    int64 // seq of the last row that the stream has brought
	others  int   // rows of other aggregates

	perTick func() int // rows of others that are written each time
}

var streamWindow = checkpoint.Window{Events: 8192, Bytes: 1 << 30}

// newStream returns a stream whose delivery ends with the returned function.
func newStream(t *testing.T) (s *stream, end func()) {
	t.Helper()
	router, err := route.Parse(route.Settings{Destination: "A", Schema: "public", Table: "outbox_events"})
	if err != nil {
		t.Fatal(err)
	}
	table := &memoryTable{}
	s = &stream{table: table, queue: &slowQueue{t: t, table: table, last: map[string]int{}}}
	s.tracker = checkpoint.NewTracker(streamWindow, checkpoint.Position{})
	log := slog.New(slog.DiscardHandler)
	sent := delivery.New([]delivery.Destination{{Name: "A", Sink: s.queue}},
		delivery.Options{InFlight: 256, EagerInFlight: 32},
		delivery.Deps{Tracker: s.tracker, Lease: ignoring{}, Observer: ignoring{}, Log: log})
	routes := router.Text([]string{"A"})
	gate, err := NewGate(sent, []string{"A"}, Start{
		Share: streamWindow.Events / 4, ShareBytes: streamWindow.Bytes / 4, Routes: routes,
		Deferrals: []Deferral{{
			Destination: "A", AggregateType: "t", AggregateID: "busy", Known: fmt.Sprintf("%d:%[1]d:", aboveSeq+1),
			FromSeq: endless, Routes: []string{routes}, State: Deferred,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.held = gate.held[key{"A", "t/busy"}]
	gate.setBehind(s.held, false)
	s.worker = &Worker{
		Store: s.table, Rows: s.table, Gate: gate, Senders: sent, Router: router, Names: []string{"A"},
		MaxBytes: 1 << 28, Window: s.tracker, Bounds: streamWindow, Retries: func(error) {}, Log: log,
		relieved: make([]relief, 1),
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sent.Run(ctx) }()
	return s, func() {
		cancel()
		<-ended
	}
}

// write writes rows of the busy aggregate and of others.
func (s *stream) write(busy, others int) {
	for range busy {
		s.table.write("busy")
	}
	for range others {
		s.table.write(fmt.Sprint(s.others % 10_000))
		s.others++
	}
}

// bring has the stream bring the rows that were written, as far as the window has room.
func (s *stream) bring() {
	for _, e := range s.table.behind(s.read, 1<<20) {
		if !s.tracker.HasRoom() {
			return
		}
		s.read++
		event := &delivery.Event{Row: delivery.Row{
			Sequence: e.Sequence, XID: e.XID, CommitLSN: pglogrepl.LSN(s.read), Writer: uint32(s.read + aboveSeq),
		}}
		s.worker.Router.Message(&e, &event.Message)
		event.Handle = s.tracker.Open(e.ID, len(e.Payload))
		s.worker.Gate.Send(0, event)
	}
	s.worker.Gate.Reached(pglogrepl.LSN(s.read))
}
