package replication

import (
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// TestStatusUpdatesArriveDuringARest: a destination may be unavailable for hours. The server must
// receive the status updates of that time, or it ends the stream after wal_sender_timeout. Without
// a rest three of four connections fail here.
func TestStatusUpdatesArriveDuringARest(t *testing.T) {
	t.Parallel()
	const large, length = 100_000, 39
	var connections errgroup.Group
	for range 12 {
		client, server := connected(t)
		g := newGatherer(client)
		if err := server.(*net.TCPConn).SetWriteBuffer(8 * receiveBuffer); err != nil {
			t.Fatal(err)
		}
		go writeTransactions(server, large)
		for left := large; left > 0; {
			left -= read(t, g, backlogWait)
		}
		connections.Go(func() error {
			time.Sleep(restAfter)
			g.rest()
			for update := range 15 {
				if _, err := client.Write(make([]byte, length)); err != nil {
					return err
				}
				if err := server.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
					return err
				}
				if _, err := server.Read(make([]byte, length)); err != nil {
					return fmt.Errorf("status update %d did not arrive: %w", update+1, err)
				}
				time.Sleep(restAfter)
			}
			return nil
		})
	}
	if err := connections.Wait(); err != nil {
		t.Error(err)
	}
}

// writeTransactions writes large bytes in a few pieces, and then transactions of one row until the
// client closes the connection.
func writeTransactions(server net.Conn, large int) {
	for range 5 {
		_, _ = server.Write(make([]byte, large/5))
	}
	for n := 0; ; n++ {
		for _, message := range []int{46, 100 + 7*(n%70), 55} {
			if _, err := server.Write(make([]byte, message)); err != nil {
				return
			}
		}
		time.Sleep(time.Duration(n%7) * 50 * time.Microsecond)
	}
}

// TestReceiveBufferIsBoundedAfterARest: otherwise the drain after an outage has two speeds.
func TestReceiveBufferIsBoundedAfterARest(t *testing.T) {
	t.Parallel()
	client, _ := connected(t)
	g := newGatherer(client)
	g.isNearby = true // even if this machine is busy
	g.endRest()
	g.rest()
	g.gather(time.Now(), 0, true)
	var bytes int
	if err := g.socket.Control(func(fd uintptr) {
		bytes, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	}); err != nil {
		t.Fatal(err)
	}
	if want := 2 * receiveBuffer; bytes != want {
		t.Errorf("the receive buffer takes %d bytes, want %d", bytes, want)
	}
}
