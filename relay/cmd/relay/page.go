package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/history"
	"github.com/outbox-relay/outbox-relay/relay/internal/page"
	"github.com/outbox-relay/outbox-relay/relay/internal/rebinding"
	"github.com/outbox-relay/outbox-relay/relay/internal/status"
)

// headerTimeout bounds the time in which a browser sends the header of a request.
const headerTimeout = 5 * time.Second

type pageCommand struct {
	database
	source
	Port uint16 `default:"0" help:"Port of 127.0.0.1 on which the page is served. 0: any free one."`
}

// Run serves the page of a slot on this machine until ctx ends. It asks the database alone.
func (c *pageCommand) Run(ctx context.Context, w io.Writer) error {
	if _, problems := c.table(); len(problems) > 0 {
		return errors.Join(problems...)
	}
	shown := &shownPool{open: func(ctx context.Context) (*pgxpool.Pool, error) {
		return control.OpenPool(ctx, c.connect)
	}}
	defer shown.Close()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(c.Port)))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("serve the page (--port): %w", err)
	}
	server := &http.Server{
		Handler:           rebinding.Guard{Handler: shown.page(&c.source, nil, nil)},
		ReadHeaderTimeout: headerTimeout,
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if _, err := fmt.Fprintf(w, "http://%s/ shows slot %s until SIGINT\n", listener.Addr(), c.Slot); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the page: %w", err)
	}
	return nil
}

// shownPool is the connection pool that the page and the relay's reports share.
type shownPool struct {
	open func(context.Context) (*pgxpool.Pool, error)

	mu   sync.Mutex
	pool *pgxpool.Pool
}

// get returns the pool, and opens it at the first call.
func (s *shownPool) get(ctx context.Context) (pool *pgxpool.Pool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool == nil {
		s.pool, err = s.open(ctx)
	}
	return s.pool, err
}

// Close closes the connections.
func (s *shownPool) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool != nil {
		control.Close(s.pool)
	}
}

// page returns the page with its data. local and recent are nil outside of a relay.
func (s *shownPool) page(source *source, local *status.Local, recent *history.Recent) http.Handler {
	table, _ := source.table() // the start reports its problems
	found := &history.Handler{Finder: history.Finder{Slot: source.Slot, Table: table, Recent: recent}, Open: s.get}
	return page.Handler(map[string]http.Handler{
		"GET /status":      &status.Handler{Slot: source.Slot, Local: local, Open: s.get},
		"GET /events":      http.HandlerFunc(found.Last),
		"GET /events/{id}": http.HandlerFunc(found.One),
	})
}
