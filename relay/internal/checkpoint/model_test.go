package checkpoint_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pglogrepl"
	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
)

// TestTheTrackerIsItsModel compares the Tracker with a model that keeps every event and computes
// every result from all of them.
func TestTheTrackerIsItsModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"":          m.check,
			"begin":     m.begin,
			"open":      m.open,
			"commit":    m.commit,
			"keepalive": m.keepalive,
			"recovered": m.recovered,
			"deliver":   m.deliver,
			"deliver 2": m.deliver,
			"idle":      m.idle,
		})
	})
}

// step is one element of the stream, in order.
type step struct {
	kind      stepKind
	lsn       pglogrepl.LSN // commit: its end; keepalive: ServerWALEnd
	resumed   checkpoint.Transaction
	seq       int64
	id        string
	bytes     int
	handle    checkpoint.Handle
	delivered bool
}

type stepKind int

const (
	stepBegin stepKind = iota
	stepEvent
	stepCommit
	stepKeepalive
	stepRecovered
)

type model struct {
	tracker  *checkpoint.Tracker
	window   checkpoint.Window
	start    checkpoint.Position
	steps    []step
	inside   bool // inside a transaction
	lsn      pglogrepl.LSN
	seq      int64
	awaiting bool // HasRoom returned false
	asked    []<-chan struct{}
	flushed  pglogrepl.LSN
}

func newModel(t *rapid.T) *model {
	m := &model{
		window: checkpoint.Window{
			Events: rapid.IntRange(1, 6).Draw(t, "events"),
			Bytes:  rapid.IntRange(1, 50).Draw(t, "bytes"),
		},
		start: checkpoint.Position{FlushLSN: 100},
		lsn:   100,
	}
	m.tracker = checkpoint.NewTracker(m.window, m.start)
	return m
}

func (m *model) next(t *rapid.T) pglogrepl.LSN {
	m.lsn += pglogrepl.LSN(rapid.IntRange(1, 20).Draw(t, "WAL"))
	return m.lsn
}

func (m *model) begin(t *rapid.T) {
	if m.inside {
		t.Skip("inside a transaction")
	}
	m.inside = true
	resumed := checkpoint.Transaction{CommitLSN: m.next(t)}
	if rapid.IntRange(0, 3).Draw(t, "resumed") == 0 {
		resumed.Delivered, resumed.LastEventID = rapid.Int64Range(1, 9).Draw(t, "before"), "before"
	}
	m.steps = append(m.steps, step{kind: stepBegin, resumed: resumed})
	m.tracker.Begin(resumed)
}

func (m *model) open(t *rapid.T) {
	m.awaiting = !m.hasRoom()
	if got := m.tracker.HasRoom(); got == m.awaiting {
		t.Fatalf("HasRoom is %v with %+v open of %+v", got, m.load(), m.window)
	}
	if m.awaiting {
		return
	}
	id, bytes := strconv.Itoa(len(m.steps)), rapid.IntRange(0, 60).Draw(t, "row")
	m.steps = append(m.steps, step{kind: stepEvent, id: id, bytes: bytes, handle: m.tracker.Open(id, bytes)})
}

func (m *model) commit(t *rapid.T) {
	if !m.inside {
		t.Skip("outside of a transaction")
	}
	m.inside = false
	end := m.next(t)
	m.steps = append(m.steps, step{kind: stepCommit, lsn: end})
	m.tracker.Commit(end)
}

func (m *model) keepalive(t *rapid.T) {
	end := m.lsn + pglogrepl.LSN(rapid.IntRange(-5, 20).Draw(t, "ahead"))
	if !m.inside && m.load().Events == 0 {
		m.lsn = max(m.lsn, end)
		m.steps = append(m.steps, step{kind: stepKeepalive, lsn: end})
	}
	m.tracker.Keepalive(end)
}

func (m *model) recovered(t *rapid.T) {
	if m.inside {
		t.Skip("inside a transaction")
	}
	m.seq += rapid.Int64Range(1, 5).Draw(t, "rows")
	m.steps = append(m.steps, step{kind: stepRecovered, seq: m.seq})
	m.tracker.Recovered(m.seq)
}

func (m *model) deliver(t *rapid.T) {
	var open []int
	for i, s := range m.steps {
		if s.kind == stepEvent && !s.delivered {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		t.Skip("nothing is open")
	}
	i := rapid.SampledFrom(open).Draw(t, "event")
	m.steps[i].delivered = true
	m.tracker.Delivered(m.steps[i].handle)
}

func (m *model) idle(*rapid.T) { m.asked = append(m.asked, m.tracker.Idle()) }

func (m *model) check(t *rapid.T) {
	got := m.tracker.Position()
	if diff := cmp.Diff(m.position(), got); diff != "" {
		t.Fatalf("position (-want +got):\n%s", diff)
	}
	load := m.tracker.Load()
	if load.Oldest.IsZero() != (load.Events == 0) {
		t.Fatalf("the oldest of %d events was opened at %v", load.Events, load.Oldest)
	}
	load.Oldest = time.Time{}
	if diff := cmp.Diff(m.load(), load); diff != "" {
		t.Fatalf("load (-want +got):\n%s", diff)
	}
	if got.FlushLSN < m.flushed {
		t.Fatalf("flush LSN went back from %s to %s", m.flushed, got.FlushLSN)
	}
	m.flushed = got.FlushLSN
	m.checkRoom(t)
	m.checkIdle(t)
}

func (m *model) checkRoom(t *rapid.T) {
	if !m.awaiting || !m.hasRoom() {
		return
	}
	m.awaiting = false
	select {
	case <-m.tracker.Room():
	default:
		t.Fatal("there is room again, and Room did not fire")
	}
}

func (m *model) checkIdle(t *rapid.T) {
	for _, idle := range m.asked {
		select {
		case <-idle:
			if m.load().Events > 0 {
				t.Fatal("Idle fired while events are open")
			}
		default:
			if m.load().Events == 0 {
				t.Fatal("nothing is open, and Idle did not fire")
			}
		}
	}
	if m.load().Events == 0 {
		m.asked = nil
	}
}

// prefix returns the steps before the first undelivered event, and the steps from that event on.
func (m *model) prefix() (before, from []step) {
	i := slices.IndexFunc(m.steps, func(s step) bool { return s.kind == stepEvent && !s.delivered })
	if i < 0 {
		return m.steps, nil
	}
	return m.steps[:i], m.steps[i:]
}

func (m *model) position() checkpoint.Position {
	p, inside := m.start, false
	before, _ := m.prefix()
	for _, s := range before {
		switch s.kind {
		case stepBegin:
			p.Transaction, inside = s.resumed, true
		case stepEvent:
			if inside {
				p.Transaction.Delivered++
				p.Transaction.LastEventID = s.id
			}
		case stepCommit:
			p.FlushLSN = s.lsn
			p.Transaction, inside = checkpoint.Transaction{}, false
		case stepKeepalive:
			p.FlushLSN = max(p.FlushLSN, s.lsn)
		case stepRecovered:
			p.RecoveredSeq = s.seq
		}
	}
	return p
}

func (m *model) load() (l checkpoint.Load) {
	before, from := m.prefix()
	for _, s := range slices.Concat(before, from) {
		if s.delivered {
			l.Delivered++
		}
	}
	for _, s := range from {
		if s.kind == stepEvent {
			l.Events++
			l.Bytes += s.bytes
		}
	}
	return l
}

func (m *model) hasRoom() bool {
	l := m.load()
	return l.Events < m.window.Events && l.Bytes < m.window.Bytes
}
