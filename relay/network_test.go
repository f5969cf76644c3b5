package relay_test

import (
	"net"
	"net/url"
	"sync"
	"testing"
)

// network is what lies between a relay and its database. It can be cut: then both sides hear nothing more, not even an end.
type network struct {
	listener net.Listener
	target   string
	copying  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	whole chan struct{} // closed while it is
}

// newNetwork returns a network, and the URL of the database by way of it.
func newNetwork(t *testing.T, databaseURL string) (n *network, throughIt string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	n = &network{target: u.Host, whole: make(chan struct{})}
	close(n.whole)
	if n.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	n.copying.Go(n.accept)
	t.Cleanup(n.close)
	u.Host = n.listener.Addr().String()
	return n, u.String()
}

func (n *network) accept() {
	for {
		client, err := n.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", n.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		n.mu.Lock()
		n.conns = append(n.conns, client, server)
		n.mu.Unlock()
		n.copying.Go(func() { n.forward(server, client) })
		n.copying.Go(func() { n.forward(client, server) })
	}
}

// forward copies until either side ends, and holds back everything, the end as well, while the network is cut.
func (n *network) forward(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		read, err := from.Read(buffer)
		n.mu.Lock()
		whole := n.whole
		n.mu.Unlock()
		<-whole
		if read > 0 {
			if _, err := to.Write(buffer[:read]); err != nil {
				return
			}
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

// cut silences all connections, and those to come.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.whole = make(chan struct{})
}

// mend lets everything go on.
func (n *network) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.whole)
}

func (n *network) close() {
	_ = n.listener.Close()
	n.mu.Lock()
	select {
	case <-n.whole:
	default:
		close(n.whole)
	}
	for _, c := range n.conns {
		_ = c.Close()
	}
	n.mu.Unlock()
	n.copying.Wait()
}
