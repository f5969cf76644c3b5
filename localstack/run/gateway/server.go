package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"
)

// drainTimeout is the time that Close waits for requests in flight.
const drainTimeout = 5 * time.Second

func newServer(handler http.Handler) *http.Server {
	fresh := freshConns{conns: map[net.Conn]struct{}{}}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ConnState: fresh.note}
	server.RegisterOnShutdown(fresh.close)
	return server
}

// freshConns are the connections that have not carried a request. HTTP clients open some in
// advance, and Shutdown would wait five seconds for each. https://pkg.go.dev/net/http#ConnState
type freshConns struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func (f *freshConns) note(conn net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if state == http.StateNew {
		f.conns[conn] = struct{}{}
		return
	}
	delete(f.conns, conn)
}

func (f *freshConns) close() {
	f.mu.Lock()
	conns := maps.Clone(f.conns)
	f.mu.Unlock()
	for conn := range conns {
		conn.Close()
	}
}

// serve serves until ctx is done, and returns when the requests in flight are answered.
func serve(ctx context.Context, server *http.Server, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	drained := make(chan error, 1)
	go func() {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		drained <- server.Shutdown(drain)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		cancel()
		return errors.Join(fmt.Errorf("serve the API: %w", err), <-drained)
	}
	if err := <-drained; err != nil {
		return errors.Join(fmt.Errorf("wait for requests in flight: %w", err), server.Close())
	}
	return nil
}
