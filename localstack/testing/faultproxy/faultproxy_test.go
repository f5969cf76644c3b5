package faultproxy_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/faultproxy"
)

const (
	patience = 20 * time.Second
	// silence is the time without data after which a connection counts as silent.
	silence = 100 * time.Millisecond
)

// conversation is a proxied connection, seen from both ends.
type conversation struct{ client, server net.Conn }

// fixture is a network with a server.
type fixture struct {
	t        *testing.T
	net      *faultproxy.Network
	listener net.Listener
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	n, err := faultproxy.New(listener.Addr().String())
	must(t, err)
	t.Cleanup(n.Close)
	return &fixture{t, n, listener}
}

func (w *fixture) connect() conversation {
	w.t.Helper()
	client, err := net.Dial("tcp", w.net.Addr())
	must(w.t, err)
	w.t.Cleanup(func() { _ = client.Close() })
	server, err := w.listener.Accept()
	must(w.t, err)
	w.t.Cleanup(func() { _ = server.Close() })
	return conversation{client, server}
}

// talk opens a connection that has carried data both ways.
func (w *fixture) talk() conversation {
	w.t.Helper()
	c := w.connect()
	say(w.t, c.client, "hello")
	hears(w.t, c.server, "hello")
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func say(t *testing.T, from net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(from, text)
	must(t, err)
}

// hears expects text.
func hears(t *testing.T, at net.Conn, text string) {
	t.Helper()
	must(t, at.SetReadDeadline(time.Now().Add(patience)))
	heard := make([]byte, len(text))
	if _, err := io.ReadFull(at, heard); err != nil || string(heard) != text {
		t.Fatalf("heard %q and %v, want %q", heard, err, text)
	}
}

// hearsNothing expects neither data nor the end of the connection.
func hearsNothing(t *testing.T, at net.Conn) {
	t.Helper()
	must(t, at.SetReadDeadline(time.Now().Add(silence)))
	var heard [1]byte
	if n, err := at.Read(heard[:]); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("heard %q and %v, want nothing", heard[:n], err)
	}
}

// isReset expects a reset.
func isReset(t *testing.T, at net.Conn) {
	t.Helper()
	must(t, at.SetReadDeadline(time.Now().Add(patience)))
	if _, err := io.Copy(io.Discard, at); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("ended with %v, want a reset", err)
	}
}

func TestWhatIsSaidArrivesAndSoDoesTheEnd(t *testing.T) {
	t.Parallel()
	c := newFixture(t).connect()
	say(t, c.client, "hello")
	hears(t, c.server, "hello")
	say(t, c.server, "goodbye")
	must(t, c.server.Close())
	hears(t, c.client, "goodbye")
	if _, err := io.Copy(io.Discard, c.client); err != nil {
		t.Error(err)
	}
}

func TestResetTellsBothSides(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	c := w.talk()
	w.net.Reset()
	isReset(t, c.client)
	isReset(t, c.server)
	again := w.connect()
	say(t, again.client, "again")
	hears(t, again.server, "again")
}

func TestSilenceTellsNobodyAndLosesNothing(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	c, ended := w.talk(), w.talk()
	w.net.Silence()
	say(t, c.client, "question")
	say(t, c.server, "answer")
	must(t, ended.server.Close())
	later := w.connect()
	say(t, later.client, "later")
	hearsNothing(t, c.server)
	hearsNothing(t, c.client)
	hearsNothing(t, ended.client)
	hearsNothing(t, later.server)
	w.net.Mend()
	hears(t, c.server, "question")
	hears(t, c.client, "answer")
	hears(t, later.server, "later")
}

func TestOneSideCanBeSilencedAlone(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	c := w.connect()
	w.net.Silence(faultproxy.Server)
	say(t, c.client, "question")
	hears(t, c.server, "question")
	say(t, c.server, "answer")
	hearsNothing(t, c.client)
}

func TestForgottenConnectionsStaySilentAndNewOnesPass(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	c := w.talk()
	w.net.Forget()
	w.net.Mend()
	say(t, c.client, "question")
	hearsNothing(t, c.server)
	again := w.connect()
	say(t, again.client, "again")
	hears(t, again.server, "again")
}

func TestServerOfAHalfOpenConnectionIsNotTold(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	c := w.talk()
	w.net.HalfOpen()
	isReset(t, c.client)
	hearsNothing(t, c.server)
	say(t, c.server, "are you there?")
	hearsNothing(t, c.server)
}

func TestASlowNetworkIsSlowUntilItIsMended(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	c := w.connect()
	w.net.Slow(faultproxy.Pace{BytesPerSecond: 100})
	began := time.Now()
	say(t, c.client, strings.Repeat("x", 30))
	hears(t, c.server, strings.Repeat("x", 30))
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("30 bytes came in %v, at 100 a second", took)
	}
	w.net.Slow(faultproxy.Pace{Delay: time.Hour})
	say(t, c.client, "in time")
	hearsNothing(t, c.server)
	w.net.Mend()
	hears(t, c.server, "in time")
}

func TestHeldBackUntilItMayPass(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	c := w.connect()
	stop := w.net.HoldBack("word")
	say(t, c.server, "others pass")
	hears(t, c.client, "others pass")
	say(t, c.client, "the word")
	<-stop.Reached
	hearsNothing(t, c.server)
	stop.Pass()
	hears(t, c.server, "the word")
	say(t, c.client, "the word again")
	hears(t, c.server, "the word again")
}

func TestCloseEndsWhateverWaits(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	c := w.connect()
	w.net.Silence()
	say(t, c.client, "question")
	hearsNothing(t, c.server)
	w.net.Close()
	must(t, c.server.SetReadDeadline(time.Now().Add(patience)))
	if n, err := io.Copy(io.Discard, c.server); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("heard %d bytes and %v, want the end", n, err)
	}
}
