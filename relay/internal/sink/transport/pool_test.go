package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a pool of connections in memory, and their other ends.
type pipes struct {
	*pool
	peers []net.Conn
}

func newPipes(most int) *pipes {
	p := &pipes{}
	p.pool = newPool(func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		p.peers = append(p.peers, far)
		return near, nil
	}, most)
	return p
}

// dialled returns n connections that are in use.
func (p *pipes) dialled(t *testing.T, n int) (all []*connection) {
	t.Helper()
	for range n {
		c, err := p.get(t.Context(), time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// open returns which connections are open, in the order in which they were dialled.
func (p *pipes) open() (open []int) {
	synctest.Wait()
	for i, peer := range p.peers {
		_ = peer.SetReadDeadline(time.Now())
		if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			open = append(open, i)
		}
	}
	return open
}

func (p *pipes) expectOpen(t *testing.T, want ...int) {
	t.Helper()
	if got := p.open(); !slices.Equal(got, want) {
		t.Errorf("connections %v are open, want %v", got, want)
	}
}

func TestIdleConnectionsAreClosedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes(10)
		all := p.dialled(t, 3)
		p.put(all[0])
		time.Sleep(maxIdle / 2)
		p.put(all[1])
		p.put(all[2])
		time.Sleep(maxIdle/2 - time.Second)
		p.expectOpen(t, 0, 1, 2)
		time.Sleep(2 * time.Second)
		p.expectOpen(t, 1, 2)
		if served := p.dialled(t, 1)[0]; served != all[2] {
			t.Error("the connection that served last does not serve next")
		}
		time.Sleep(maxIdle)
		p.expectOpen(t, 2) // it is in use
	})
}

func TestNoMoreConnectionsAreKeptThanAllowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes(2)
		for _, c := range p.dialled(t, 3) {
			p.put(c)
		}
		p.expectOpen(t, 0, 1)
		p.closeIdle()
		p.expectOpen(t)
	})
}

// TestASilentConnectionIsDistrustedWithItsElders: connections that were answered since then are
// known to work.
func TestASilentConnectionIsDistrustedWithItsElders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes(10)
		all := p.dialled(t, 4)
		p.put(all[0])
		p.put(all[1])
		time.Sleep(time.Second)
		begin := time.Now()
		time.Sleep(time.Second)
		p.put(all[2])
		p.distrust(begin)
		p.expectOpen(t, 2, 3)
	})
}
