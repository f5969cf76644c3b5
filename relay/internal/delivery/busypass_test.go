package delivery_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
)

// passLoad is a pass through the table, which has at most passRows rows with delivery from the
// first open one on. Once a group holds it up, it excludes the rows of that group, as package
// deferral does it.
type passLoad struct {
	*fixture
	rows    []*passRow
	waits   string // the group whose rows are excluded
	arrived atomic.Int32
}

const passRows = 1000

type passRow struct {
	event   *delivery.Event
	settled atomic.Bool
}

func (l *passLoad) write(group string, n int) {
	if group == l.waits {
		return
	}
	for len(l.rows) >= passRows {
		l.elapse(100 * time.Millisecond)
		for len(l.rows) > 0 && l.rows[0].settled.Load() {
			l.rows = l.rows[1:]
		}
		l.relieve()
	}
	row := &passRow{event: eventOf(group, n)}
	row.event.Settled = func() {
		if row.settled.Store(true); group != "busy" {
			l.arrived.Add(1)
		}
	}
	l.rows = append(l.rows, row)
	l.delivery.Send(0, row.event)
}

func (l *passLoad) relieve() {
	if len(l.rows) == 0 {
		return
	}
	group := l.rows[0].event.Message.GroupID
	if _, _, isFar := l.delivery.FarBehind(0, group); !isFar {
		return
	}
	release, err := l.delivery.HoldGroup(l.t.Context(), 0, group)
	if err != nil {
		l.t.Fatal(err)
	}
	defer release()
	l.waits = group
	for _, e := range l.delivery.WithdrawGroup(0, group, func(*delivery.Event) bool { return true }) {
		e.Settled()
	}
}

// TestABusyGroupOfAPassDelaysNoOther: every second row is of one group, which is sent 66 events a
// second.
func TestABusyGroupOfAPassDelaysNoOther(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].forgetful = true
		r.sinks[0].answers(after(15*time.Millisecond, takeAll))
		load, began := &passLoad{fixture: r}, time.Now()
		for n := range 2500 {
			load.write("busy", n)
			load.write(fmt.Sprint("other", n%100), n)
		}
		r.elapse(time.Second)
		if others, took := load.arrived.Load(), time.Since(began); others != 2500 || took > 3*time.Second {
			r.t.Errorf("%d of 2500 events of others arrived within %v", others, took)
		}
		if load.waits != "busy" {
			r.t.Errorf("group %q waits apart from the pass, want busy", load.waits)
		}
	}, wide)
}

// TestNoGroupOfAnOutageIsFarBehind: all of them wait.
func TestNoGroupOfAnOutageIsFarBehind(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(after(time.Second, takeAll))
		for i := range 30 {
			r.send(0, eventOf("busy", i))
		}
		if _, _, isFar := r.delivery.FarBehind(0, "busy"); !isFar {
			r.t.Error("the only group that waits is not far behind")
		}
		if _, _, isFar := r.delivery.FarBehind(0, "other"); isFar {
			r.t.Error("a group without events is far behind")
		}
		r.sinks[0].answers(failAll(errUnavailable))
		r.elapse(10 * time.Second)
		if _, _, isFar := r.delivery.FarBehind(0, "busy"); isFar {
			r.t.Error("a group of an unavailable destination is far behind")
		}
	}, wide)
}
