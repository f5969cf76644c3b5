package e2e_test

import (
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// Each finding is on its own line, with its statement below.
func TestCheckListsItsFindingsInOrder(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	listen := "RELAY_LISTEN=" + freeAddress(t)
	output, err := w.command([]string{listen}, "check")
	var codes []string
	for _, line := range regexp.MustCompile(`(?m)^ok +([a-z-]+) `).FindAllStringSubmatch(output, -1) {
		codes = append(codes, line[1])
	}
	all, at := strings.Join(codes, " "), -1
	for _, code := range []string{
		"database", "version", "wal-level", "role", "replication", "table", "columns",
		"publication", "relay-tables", "slot", "start", "aws", "destination", "listen",
	} {
		next := strings.Index(" "+all+" ", " "+code+" ")
		if next <= at {
			t.Errorf("%s is not listed in its place: %s", code, all)
		}
		at = next
	}
	if err != nil || !strings.HasSuffix(output, "relay run would start\n") {
		t.Errorf("%v: %s", err, output)
	}
	w.exec(`DROP PUBLICATION outbox_pub`)
	output, err = w.command([]string{listen, "RELAY_DESTINATON=x"}, "check")
	for _, line := range []string{
		`degraded  unknown-setting +RELAY_DESTINATON is no setting of this relay, and has no effect: ` +
			`did you mean RELAY_DESTINATION\?`,
		`error     publication +publication outbox_pub does not exist: .*`,
		` +CREATE PUBLICATION "outbox_pub" FOR TABLE .*;`,
	} {
		if !regexp.MustCompile("(?m)^"+line+"$").MatchString(output) || err == nil {
			t.Errorf("%v: check has no line %s: %s", err, line, output)
		}
	}
}

func TestCheckFindsAnAddressInUse(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	defer taken.Close()
	for listen, says := range map[string]string{taken.Addr().String(): "is in use", ":99999": "99999"} {
		if output, err := w.command([]string{"RELAY_LISTEN=" + listen}, "check"); err == nil ||
			!strings.Contains(output, says) {
			t.Errorf("RELAY_LISTEN=%s: %v: %s", listen, err, output)
		}
	}
	listen := "RELAY_LISTEN=" + freeAddress(t)
	w.startStreaming(listen)
	if output, err := w.command([]string{listen}, "check"); err != nil ||
		!strings.Contains(output, "the relay of this slot serves its probes") ||
		strings.Contains(output, "connects as") {
		t.Errorf("beside the relay: %v: %s", err, output)
	}
	if output, err := w.command([]string{listen, "RELAY_SLOT=" + w.slot + "_other"}, "check"); err == nil ||
		!strings.Contains(output, "in use by the relay of slot "+w.slot+":") {
		t.Errorf("for another slot: %v: %s", err, output)
	}
	owner := []string{listen, "DATABASE_URL=" + pgtest.SuperuserURL(t, w.url)}
	if output, _ := w.command(owner, "check"); !strings.Contains(output, "connects as "+pgtest.Role+", and this ") {
		t.Errorf("as another role: %s", output)
	}
}

// relay check gives a peer ten seconds to answer.
func TestCheckNamesTheUnresponsivePeer(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and never answers
	w.must(err)
	defer mute.Close()
	began := time.Now()
	output, err := w.command([]string{"DATABASE_URL=postgres://outbox@" + mute.Addr().String() + "/x?sslmode=disable"},
		"check")
	notice := "waiting for the database at " + mute.Addr().String() + ", giving up after 10s\n"
	if err == nil || !strings.Contains(output, notice) ||
		!strings.Contains(output, "did not answer within 10s") {
		t.Errorf("%v: %s", err, output)
	}
	if elapsed := time.Since(began); elapsed > 30*time.Second {
		t.Errorf("the check took %v", elapsed)
	}
}

// The database accepts connections and never answers, as one that is stopped or overloaded.
func TestCommandsNameTheDatabaseTheyWaitFor(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	t.Cleanup(func() { _ = mute.Close() })
	env := []string{"DATABASE_URL=postgres://outbox@" + mute.Addr().String() + "/x?sslmode=disable"}
	for _, command := range []string{
		"status", "migrate", "recover", "dead-letters list", "replay --since 1h", "pause " + w.queue.ARN,
	} {
		t.Run(strings.Fields(command)[0], func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			output, err := w.command(env, strings.Fields(command)...)
			notice := "waiting for the database at " + mute.Addr().String() + ", giving up after 10s\n"
			if err == nil || strings.Count(output, notice) != 1 {
				t.Errorf("relay %s: %v: %s", command, err, output)
			}
			if command == "status" && (exitCode(err) != 3 || !strings.Contains(output, "Database busy")) {
				t.Errorf("relay status: %v: %s", err, output)
			}
			if elapsed := time.Since(began); elapsed > 20*time.Second {
				t.Errorf("relay %s took %v", command, elapsed)
			}
		})
	}
}
