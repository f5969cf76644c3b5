package relay_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy stands between relays and Postgres. It can hold a connection back at a certain word of the client, and
// silence connections.
type proxy struct {
	url    string
	server string

	mu   sync.Mutex
	stop map[string]*stop
	cut  chan struct{} // closed once the connections made so far carry nothing any more
}

// stop is where one connection is held back, once.
type stop struct {
	reached, pass chan struct{}
}

// newProxy returns a proxy to the server of this URL.
func newProxy(t *testing.T, databaseURL string) *proxy {
	t.Helper()
	target, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{server: target.Host, stop: map[string]*stop{}, cut: make(chan struct{})}
	target.Host = listener.Addr().String()
	p.url = target.String()
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", p.server)
			if err != nil {
				_ = client.Close()
				continue
			}
			t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
			wait.Go(func() { p.copy(server, client, true) })
			wait.Go(func() { p.copy(client, server, false) })
		}
	})
	t.Cleanup(func() { _ = listener.Close() })
	return p
}

// silence cuts off the connections that there are, without closing them. New ones pass.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.cut)
	p.cut = make(chan struct{})
}

// holdBack holds back the first connection whose client says word.
func (p *proxy) holdBack(word string) *stop {
	s := &stop{reached: make(chan struct{}), pass: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop[word] = s
	return s
}

func (p *proxy) copy(to io.WriteCloser, from io.Reader, client bool) {
	defer to.Close()
	p.mu.Lock()
	cut := p.cut
	p.mu.Unlock()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		select {
		case <-cut:
			if err == nil {
				continue
			}
		default:
		}
		if client {
			p.wait(buffer[:n])
		}
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

func (p *proxy) wait(said []byte) {
	p.mu.Lock()
	var held *stop
	for word, s := range p.stop {
		if bytes.Contains(said, []byte(word)) {
			held = s
			delete(p.stop, word)
		}
	}
	p.mu.Unlock()
	if held != nil {
		close(held.reached)
		<-held.pass
	}
}
