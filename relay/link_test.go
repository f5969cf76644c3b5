package relay_test

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// link is a way from a relay to its database on which a test stands.
type link struct {
	url     string // of the database, through the link
	server  string
	text    string        // a message with it waits
	reached chan struct{} // closed when one does
	pass    chan struct{} // closed when it may go on
	once    sync.Once
	isCut   atomic.Bool
	wait    sync.WaitGroup
	mu      sync.Mutex
	ends    []net.Conn
	closed  bool
}

// newLink makes a link that holds up the messages with this text in them, until it is opened.
func (w *world) newLink(text string) *link {
	w.t.Helper()
	database, err := url.Parse(w.url)
	w.must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	l := &link{server: database.Host, text: text, reached: make(chan struct{}), pass: make(chan struct{})}
	database.Host = listener.Addr().String()
	l.url = database.String()
	l.wait.Go(func() { l.accept(listener) })
	w.t.Cleanup(func() {
		_ = listener.Close()
		l.open()
		l.close()
		l.wait.Wait()
	})
	return l
}

func (l *link) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		l.mu.Lock()
		l.ends = append(l.ends, client, server)
		if l.closed {
			_, _ = client.Close(), server.Close()
		}
		l.mu.Unlock()
		l.wait.Go(func() { l.carry(server, client) })
		l.wait.Go(func() { l.carry(client, server) })
	}
}

// carry passes on what comes until one end is closed, and closes the other. What comes over a link that is cut is lost.
func (l *link) carry(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		l.hold(buffer[:n])
		if l.isCut.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (l *link) hold(message []byte) {
	if bytes.Contains(message, []byte(l.text)) {
		l.once.Do(func() { close(l.reached) })
		<-l.pass
	}
}

// await waits until a message is held up.
func (l *link) await(w *world) {
	w.t.Helper()
	select {
	case <-l.reached:
	case <-time.After(patience):
		w.t.Fatalf("no message held %q", l.text)
	}
}

// open holds up nothing from now on.
func (l *link) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.pass:
	default:
		close(l.pass)
	}
}

// cut loses everything from now on; neither side is told.
func (l *link) cut() { l.isCut.Store(true) }

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, end := range l.ends {
		_ = end.Close()
	}
}
