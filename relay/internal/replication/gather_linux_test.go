package replication

import (
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// connected returns both ends of a connection over loopback.
func connected(t *testing.T) (client, server net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if client, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

// read waits for as long as a reader of the stream may, and returns how much comes then without a wait.
func read(t *testing.T, g *gatherer, wait time.Duration) int {
	t.Helper()
	g.gather(time.Now(), wait)
	if err := g.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	n, err := g.conn.Read(make([]byte, sourceSize))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestBacklogIsReadInLargePieces sends small messages one by one, as a walsender does.
func TestBacklogIsReadInLargePieces(t *testing.T) {
	t.Parallel()
	client, server := connected(t)
	g := newGatherer(client)
	const message, all = 64, 4 * gatherBytes
	go func() {
		for range all / message {
			if _, err := server.Write(make([]byte, message)); err != nil {
				return
			}
		}
	}()
	for left := all; left >= gatherBytes; {
		n := read(t, g, time.Minute)
		if n < gatherBytes {
			t.Fatalf("a read brought %d bytes, want at least %d", n, gatherBytes)
		}
		left -= n
	}
}

// TestGatheringEndsWithWhatIsThere: the end of a backlog is less than a large piece, and the next event comes alone.
func TestGatheringEndsWithWhatIsThere(t *testing.T) {
	t.Parallel()
	client, server := connected(t)
	g := newGatherer(client)
	for _, wait := range []time.Duration{time.Millisecond, time.Millisecond, 0} {
		if _, err := server.Write([]byte("commit")); err != nil {
			t.Fatal(err)
		}
		if n := read(t, g, wait); n != len("commit") {
			t.Errorf("after gathering for %s a read brought %d bytes, want the %d that were sent", wait, n, len("commit"))
		}
	}
	if g.lowWater != 1 {
		t.Errorf("the socket waits for %d bytes once nothing gathers, want 1", g.lowWater)
	}
}

// TestGatheringEndsWhenTheStreamIsEnded: the stream's end sets the read deadline to the past.
func TestGatheringEndsWhenTheStreamIsEnded(t *testing.T) {
	t.Parallel()
	client, _ := connected(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		newGatherer(client).gather(time.Now(), time.Hour)
	}()
	for timeout := time.After(time.Minute); ; {
		if err := client.SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
			return
		case <-timeout:
			t.Fatal("gathering goes on after the read deadline has passed")
		case <-time.After(time.Millisecond):
		}
	}
}

// TestTLSGathersToo: what counts is the TCP connection below.
func TestTLSGathersToo(t *testing.T) {
	t.Parallel()
	client, _ := connected(t)
	if g := newGatherer(tls.Client(client, &tls.Config{ServerName: "localhost"})); g.socket == nil {
		t.Error("a TLS connection over TCP does not gather")
	}
	one, other := net.Pipe()
	defer one.Close()
	defer other.Close()
	if g := newGatherer(one); g.gather(time.Now(), time.Hour) {
		t.Error("a connection that is not TCP gathers")
	}
}
