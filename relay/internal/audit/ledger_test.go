package audit_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
)

// TestALedgerFindsExactlyWhatWasNotStreamed drives a Ledger with a model of a cluster. Transactions
// begin, write, commit to the log and become visible in any order, and sessions end at any moment.
func TestALedgerFindsExactlyWhatWasNotStreamed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := &cluster{next: 100, completed: 99}
		c.session(t)
		actions := []func(*rapid.T){
			c.begin, c.write, c.commit, c.show, c.rollBack, c.stream, c.stream, c.show, c.skip, c.remove, c.begun,
			c.expect, c.count, c.session,
		}
		for range rapid.IntRange(300, 600).Draw(t, "actions") {
			actions[rapid.IntRange(0, len(actions)-1).Draw(t, "action")](t)
		}
	})
}

// transaction is one transaction of the model.
type transaction struct {
	xid             uint64
	rows            int64 // in the table once the transaction is visible
	written         int64
	inLog, visible  bool
	streamed, aware bool // its rows came, and they came in the current session
}

// cluster is a model of a database with one table, and of its log.
type cluster struct {
	next, completed uint64 // the next xid, and the latest that has ended
	running         []*transaction
	log             []*transaction // in order of commit
	read            int            // position in the log

	ledger   *audit.Ledger
	baseline uint64
	expected *pgsnapshot.Snapshot
	reach    int // position in the log that completes the expected snapshot
}

func (c *cluster) session(*rapid.T) {
	c.ledger, c.baseline, c.expected = audit.NewLedger(), 0, nil
	for _, x := range c.log {
		x.aware = false
	}
}

// begin starts a transaction and assigns its xid.
func (c *cluster) begin(*rapid.T) {
	c.running = append(c.running, &transaction{xid: c.next, rows: 1, written: 1})
	c.next++
}

func (c *cluster) pick(t *rapid.T, inLog bool) *transaction {
	var candidates []*transaction
	for _, x := range c.running {
		if x.inLog == inLog {
			candidates = append(candidates, x)
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	return rapid.SampledFrom(candidates).Draw(t, "transaction")
}

func (c *cluster) write(t *rapid.T) {
	if x := c.pick(t, false); x != nil {
		x.rows++
		x.written++
	}
}

// commit writes the transaction to the log. Other sessions do not see it yet.
func (c *cluster) commit(t *rapid.T) {
	if x := c.pick(t, false); x != nil {
		x.inLog = true
		c.log = append(c.log, x)
	}
}

func (c *cluster) show(t *rapid.T) { c.end(c.pick(t, true)) }

func (c *cluster) rollBack(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "seldom") == 0 {
		c.end(c.pick(t, false))
	}
}

func (c *cluster) end(x *transaction) {
	if x == nil {
		return
	}
	c.running = slices.DeleteFunc(c.running, func(r *transaction) bool { return r == x })
	c.completed = max(c.completed, x.xid)
	x.visible = x.inLog
}

func (c *cluster) stream(*rapid.T) {
	x := c.readLog()
	if x == nil {
		return
	}
	x.streamed, x.aware = true, true
	for range x.written {
		c.ledger.Streamed(x.xid)
	}
}

// skip injects the fault that the Ledger has to find.
func (c *cluster) skip(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "seldom") == 0 {
		c.readLog()
	}
}

func (c *cluster) readLog() *transaction {
	if c.read == len(c.log) {
		return nil
	}
	c.read++
	return c.log[c.read-1]
}

func (c *cluster) remove(*rapid.T) {
	for _, x := range c.log {
		if x.visible && x.streamed && x.rows > 0 { // rows that were not streamed are never removed
			x.rows--
			return
		}
	}
}

func (c *cluster) begun(*rapid.T) {
	if c.ledger.Begun() {
		return
	}
	c.baseline = c.next // a transaction of its own
	c.completed = max(c.completed, c.next)
	c.next++
	c.ledger.Begin(c.baseline)
}

func (c *cluster) expect(t *rapid.T) {
	if !c.ledger.Begun() || c.expected != nil {
		return
	}
	xmax := c.completed + 1
	var xip []string
	xmin := xmax
	for _, x := range c.running {
		if x.xid < xmax {
			xip = append(xip, fmt.Sprint(x.xid))
			xmin = min(xmin, x.xid)
		}
	}
	s, err := pgsnapshot.Parse(fmt.Sprintf("%d:%d:%s", xmin, xmax, strings.Join(xip, ",")))
	if err != nil {
		t.Fatal(err)
	}
	c.expected, c.reach = &s, len(c.log)
	c.ledger.Expect(s)
}

func (c *cluster) count(t *rapid.T) {
	if c.expected == nil || c.read < c.reach {
		return
	}
	step, complete := c.ledger.Step()
	if !complete {
		t.Fatal("there was too much to remember")
	}
	var rows, streamed, missing int64
	for _, x := range c.log {
		if !x.visible || !step.Has(x.xid) {
			continue
		}
		rows += x.rows
		if x.aware {
			streamed += x.written
		} else {
			missing += x.rows
			if x.streamed {
				t.Fatalf("transaction %d was streamed by an earlier session, and the baseline is %d", x.xid, c.baseline)
			}
		}
	}
	if step.Streamed != streamed {
		t.Fatalf("%d rows were streamed from %s to %s, the ledger says %d", streamed, step.From, step.To, step.Streamed)
	}
	if found := rows > step.Streamed; found && missing == 0 || !found && missing > 0 && rows-missing == streamed {
		t.Fatalf("%d rows, %d streamed, %d missing", rows, step.Streamed, missing)
	}
	c.ledger.Settle()
	c.expected = nil
}

func TestLedgerRestartsBeyondItsMemory(t *testing.T) {
	t.Parallel()
	l := audit.NewLedger()
	l.Begin(10)
	l.Expect(snapshot(t, "11:20:12"))
	for xid := range uint64(1 << 16) {
		l.Streamed(20 + xid)
	}
	l.Streamed(20) // the Ledger counts this transaction
	l.Streamed(11)
	if step, complete := l.Step(); !complete || step.Streamed != 1 {
		t.Fatalf("%+v, %v", step, complete)
	}
	l.Streamed(12)
	if _, complete := l.Step(); complete || l.Begun() {
		t.Fatal("it remembers more than it may")
	}
	l.Restart()
	l.Streamed(13)
	l.Streamed(30)
	l.Begin(20)
	l.Expect(snapshot(t, "31:31:"))
	if step, complete := l.Step(); !complete || step.Streamed != 1 {
		t.Errorf("after a restart: %+v, %v", step, complete)
	}
}

// TestABacklogNeedsNoMemory: every transaction of the backlog is visible in the expected snapshot.
func TestABacklogNeedsNoMemory(t *testing.T) {
	t.Parallel()
	const backlog = 1 << 18
	l := audit.NewLedger()
	l.Begin(0)
	l.Expect(snapshot(t, fmt.Sprintf("1:%d:", backlog)))
	for xid := range uint64(backlog) {
		l.Streamed(xid)
	}
	if step, complete := l.Step(); !complete || step.Streamed != backlog-1 {
		t.Errorf("%+v, %v", step, complete)
	}
}

func TestInvalidSnapshotsAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "1:2", "1:x:", "1:2:x", "1:2:3:4"} {
		if _, err := pgsnapshot.Parse(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func snapshot(t *testing.T, text string) pgsnapshot.Snapshot {
	t.Helper()
	s, err := pgsnapshot.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func BenchmarkStreamed(b *testing.B) {
	l := audit.NewLedger()
	l.Begin(10)
	s, err := pgsnapshot.Parse("11:1000000000000:500,600,700,800")
	if err != nil {
		b.Fatal(err)
	}
	l.Expect(s)
	for xid := uint64(11); b.Loop(); xid++ {
		l.Streamed(xid)
	}
}
