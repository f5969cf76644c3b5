package replication

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// connected returns both ends of a connection over loopback.
func connected(t *testing.T) (client, server net.Conn) {
	t.Helper()
	return connectedBy(t, net.Dialer{})
}

func connectedBy(t *testing.T, dialer net.Dialer) (client, server net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if client, err = dialer.DialContext(t.Context(), "tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

// backlogWait is how long the events of an old backlog may wait.
const backlogWait = 10 * time.Millisecond

// read gathers for at most wait, and returns how many bytes the following read returns.
func read(t *testing.T, g *gatherer, wait time.Duration) int {
	t.Helper()
	g.gather(time.Now(), wait, true)
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
	const message, all = 64, 8 * gatherBytes
	for range all / message { // the server's send queue has room for all
		if _, err := server.Write(make([]byte, message)); err != nil {
			t.Fatal(err)
		}
	}
	reads := 0
	for left := all; left > 0; reads++ {
		left -= read(t, g, backlogWait)
	}
	checkReads(t, reads, all)
}

// checkReads fails if so many reads mean that the pieces were not large. A few may be small: the
// next segment of a server that is ahead may not fit into the rest of the receive buffer.
func checkReads(t *testing.T, reads, bytes int) {
	t.Helper()
	if most := 3 * bytes / gatherBytes; reads > most {
		t.Errorf("%d reads brought %d bytes, want at most %d reads", reads, bytes, most)
	}
}

// TestBacklogArrivesInLargeSegments: a server that is ahead sends many messages in one segment.
func TestBacklogArrivesInLargeSegments(t *testing.T) {
	t.Parallel()
	client, server := connected(t)
	g := newGatherer(client)
	if err := server.(*net.TCPConn).SetWriteBuffer(8 * receiveBuffer); err != nil {
		t.Fatal(err)
	}
	const message, messages = 64, 100_000
	written := make(chan struct{})
	go func() {
		defer close(written)
		for range messages {
			if _, err := server.Write(make([]byte, message)); err != nil {
				return
			}
		}
	}()
	for left := messages * message; left > 0; {
		getAhead(t, server, written)
		left -= read(t, g, backlogWait)
	}
	var segments uint32
	err := g.socket.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			segments = info.Data_segs_in
		}
	})
	if most := uint32(messages / 100); err != nil || segments == 0 || segments > most {
		t.Errorf("%d messages arrived in %d segments (%v), want at most %d", messages, segments, err, most)
	}
}

// getAhead returns when more than the client's bounded receive buffer takes is waiting in the
// server's send queue, or when the server has written everything.
func getAhead(t *testing.T, server net.Conn, written <-chan struct{}) {
	t.Helper()
	socket, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for unsent := 0; unsent < 3*receiveBuffer; {
		var asked error
		err := socket.Control(func(fd uintptr) { unsent, asked = unix.IoctlGetInt(int(fd), unix.SIOCOUTQNSD) })
		if err := errors.Join(err, asked); err != nil {
			t.Fatal(err)
		}
		select {
		case <-written:
			return
		case <-time.After(100 * time.Microsecond):
		}
	}
}

// TestHeadStartLastsUntilItsEnd: a server that is not ahead may use all of the wait.
func TestHeadStartLastsUntilItsEnd(t *testing.T) {
	t.Parallel()
	client, server := connected(t)
	g := newGatherer(client)
	if _, err := server.Write([]byte("commit")); err != nil {
		t.Fatal(err)
	}
	const wait = 500 * time.Millisecond
	begin := time.Now()
	if g.gather(begin, wait, true); time.Since(begin) < wait {
		t.Errorf("the server got a head start of %s, want %s", time.Since(begin), wait)
	}
}

// TestLargeMessagesGetNoHeadStart: a piece of them is read as soon as it has arrived.
func TestLargeMessagesGetNoHeadStart(t *testing.T) {
	t.Parallel()
	client, server := connected(t)
	g := newGatherer(client)
	go func() {
		time.Sleep(10 * time.Millisecond)
		_, _ = server.Write(make([]byte, 2*gatherBytes))
	}()
	begin := time.Now()
	if g.gather(begin, 2*time.Minute, false); time.Since(begin) > time.Minute {
		t.Errorf("a large piece that had arrived was left for %s", time.Since(begin))
	}
}

// TestGatheringEndsWithTheReceiveBuffer: a system may bound receive buffers below a large piece.
// The server then waits for the client to read.
func TestGatheringEndsWithTheReceiveBuffer(t *testing.T) {
	t.Parallel()
	small := net.Dialer{Control: func(_, _ string, socket syscall.RawConn) error {
		var set error
		err := socket.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10)
		})
		return errors.Join(err, set)
	}}
	client, server := connectedBy(t, small)
	g := newGatherer(client)
	if err := g.socket.Control(func(fd uintptr) { setReceiveBuffer(fd, 4<<10) }); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, err := server.Write(make([]byte, 64)); err != nil {
				return
			}
		}
	}()
	read(t, g, time.Millisecond)
	for range 20 {
		for deadline := time.Now().Add(time.Minute); !g.hasPiece(); time.Sleep(time.Millisecond) {
			if g.setLowWater(gatherBytes); time.Now().After(deadline) {
				t.Fatalf("a full buffer is no large piece of %d bytes", g.piece)
			}
		}
		if n := read(t, g, backlogWait); n < g.piece {
			t.Fatalf("a read brought %d bytes, want at least %d", n, g.piece)
		}
	}
}

// TestBacklogOverTLSIsReadInLargePieces sends each message as a separate record, as a walsender
// does.
func TestBacklogOverTLSIsReadInLargePieces(t *testing.T) {
	t.Parallel()
	client, server := secured(t)
	const message, all = 64, 8 * gatherBytes
	for range all / message { // the server's send queue has room for all
		if _, err := server.Write(make([]byte, message)); err != nil {
			t.Fatal(err)
		}
	}
	s := newSource(client)
	s.ahead = client.NetConn().(*readAhead)
	g := newGatherer(client)
	s.beforeRead = func(now time.Time) error {
		g.gather(now, backlogWait, true)
		return client.SetReadDeadline(now.Add(time.Minute))
	}
	reads := 0
	for left := all; left > 0; left -= len(s.unread) {
		if err := s.fill(); err != nil {
			t.Fatal(err)
		}
		reads++
	}
	checkReads(t, reads, all)
}

// TestEndOfTLSBacklogIsNotHeldUp: the source returns the records that have arrived, even if a part
// of the next record has arrived too.
func TestEndOfTLSBacklogIsNotHeldUp(t *testing.T) {
	t.Parallel()
	client, server := secured(t)
	s := newSource(client)
	s.ahead = client.NetConn().(*readAhead)
	for n := range 3 {
		if _, err := server.Write(make([]byte, 3*longestRecord)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, 3*longestRecord)); err != nil {
			t.Fatalf("write %d: %v", n, err)
		}
	}
	if err := client.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("with nothing to read the source returns %v, want the deadline's end", err)
	}
	if err := client.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Write([]byte("commit")); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(make([]byte, 100)); n != len("commit") || err != nil {
		t.Errorf("after a deadline the source reads %d bytes, %v, want the %d that were sent", n, err, len("commit"))
	}
}

// secured returns both ends of a TLS connection that [Open] would create.
func secured(t *testing.T) (client, server *tls.Conn) {
	t.Helper()
	here, there := connected(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(0, 0, 1), DNSNames: []string{"localhost"},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	server = tls.Server(there, &tls.Config{Certificates: []tls.Certificate{
		{Certificate: [][]byte{certificate}, PrivateKey: key},
	}})
	client = tls.Client(&readAhead{Conn: here}, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- server.HandshakeContext(t.Context()) }()
	if err := errors.Join(client.HandshakeContext(t.Context()), <-shaken); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// TestGatheringEndsWithTheBacklog: the end of a backlog is smaller than a large piece, and the next
// event arrives alone.
func TestGatheringEndsWithTheBacklog(t *testing.T) {
	t.Parallel()
	client, server := connected(t)
	g := newGatherer(client)
	for _, wait := range []time.Duration{time.Millisecond, time.Millisecond, 0} {
		if _, err := server.Write([]byte("commit")); err != nil {
			t.Fatal(err)
		}
		if n := read(t, g, wait); n != len("commit") {
			t.Errorf("after gathering for %s a read brought %d bytes, want the %d that were sent",
				wait, n, len("commit"))
		}
	}
	if g.lowWater != 1 {
		t.Errorf("the socket waits for %d bytes once nothing gathers, want 1", g.lowWater)
	}
}

// TestTLSGathersToo: the TCP connection below TLS decides.
func TestTLSGathersToo(t *testing.T) {
	t.Parallel()
	client, _ := connected(t)
	if g := newGatherer(tls.Client(client, &tls.Config{ServerName: "localhost"})); g.socket == nil {
		t.Error("a TLS connection over TCP does not gather")
	}
	one, other := net.Pipe()
	defer one.Close()
	defer other.Close()
	if g := newGatherer(one); g.gather(time.Now(), time.Hour, true) {
		t.Error("a connection that is not TCP gathers")
	}
}
