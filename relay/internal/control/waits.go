package control

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// NoticeAfter is how long a peer may take to answer before the operator learns of the wait.
	NoticeAfter = 2 * time.Second
	// connectTimeout bounds a command's connect to one address, unless the connection string has a
	// bound.
	connectTimeout = 10 * time.Second
)

// Waiting receives the name of a peer that has not answered for [NoticeAfter]. The wait ends after
// limit in total. Without a limit, only the answer or the operator ends it.
type Waiting func(peer string, limit time.Duration)

// Database names the database of a connection by its addresses.
func Database(config *pgconn.Config) string {
	return "the database at " + strings.Join(addresses(config), ", ")
}

// addresses returns each address once. A fallback may be the same address without TLS.
func addresses(config *pgconn.Config) []string {
	all := []string{address(config.Host, config.Port)}
	for _, f := range config.Fallbacks {
		if other := address(f.Host, f.Port); !slices.Contains(all, other) {
			all = append(all, other)
		}
	}
	return all
}

// connectLimit returns how long a connect may take: connect_timeout holds for each address.
func connectLimit(config *pgconn.Config) time.Duration {
	return config.ConnectTimeout * time.Duration(len(addresses(config)))
}

func address(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
}

// OpenWatchedPool is [OpenPool] for a command at a terminal. waiting receives each long wait for
// the database. A connect to an address ends after connectTimeout.
func OpenWatchedPool(ctx context.Context, connect Connect, waiting Waiting) (*pgxpool.Pool, error) {
	return openPool(ctx, connect, &Learned{}, poolOptions{pin: boundConnect, tracer: &waits{notify: waiting}})
}

func boundConnect(config *pgconn.Config) {
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
}

// waits is a tracer that reports each long wait for the database.
type waits struct {
	closeLarge // a connection has one tracer
	notify     Waiting

	mu       sync.Mutex
	config   *pgconn.Config // of the first connection
	reported bool
	until    time.Time // of the wait that was reported last; zero: it has no limit
}

// waitKey is the key of the timer of a wait in the context of its calls. The timer is nil in a part
// of such a wait, as in the statements that a new connection runs.
type waitKey struct{}

func (w *waits) connectsWith(config *pgconn.Config) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.config = config
}

// begin begins a wait that ends at the deadline of ctx, or after limit if that is earlier.
func (w *waits) begin(ctx context.Context, limit time.Duration) context.Context {
	if w.notify == nil || ctx.Value(waitKey{}) != nil {
		return context.WithValue(ctx, waitKey{}, (*time.Timer)(nil))
	}
	var until time.Time
	if limit > 0 {
		until = time.Now().Add(limit)
	}
	if deadline, ok := ctx.Deadline(); ok && (until.IsZero() || deadline.Before(until)) {
		until, limit = deadline, time.Until(deadline)
	}
	timer := time.AfterFunc(NoticeAfter, func() { w.report(until, limit) })
	return context.WithValue(ctx, waitKey{}, timer)
}

// end ends the wait that [waits.begin] began with this context.
func (w *waits) end(ctx context.Context) {
	if timer, _ := ctx.Value(waitKey{}).(*time.Timer); timer != nil {
		timer.Stop()
	}
}

// report reports a wait, unless one with the same end is reported already.
func (w *waits) report(until time.Time, limit time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reported && w.until.Equal(until) {
		return
	}
	w.reported, w.until = true, until
	w.notify(Database(w.config), limit)
}

// TraceAcquireStart implements [pgxpool.AcquireTracer]. A pool connects in it.
func (w *waits) TraceAcquireStart(
	ctx context.Context, pool *pgxpool.Pool, _ pgxpool.TraceAcquireStartData,
) context.Context {
	config := &pool.Config().ConnConfig.Config
	boundConnect(config)
	w.connectsWith(config)
	return w.begin(ctx, connectLimit(config))
}

// TraceAcquireEnd implements [pgxpool.AcquireTracer].
func (w *waits) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireEndData) {
	w.end(ctx)
}

// TraceQueryStart implements [pgx.QueryTracer].
func (w *waits) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return w.begin(ctx, 0)
}

// TraceQueryEnd implements [pgx.QueryTracer].
func (w *waits) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) { w.end(ctx) }
