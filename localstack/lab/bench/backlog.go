package bench

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// shape is the size of the events and transactions of a backlog.
type shape struct {
	bytes int // bytes of a payload
	rows  int // rows of a transaction
	// emitted events are messages in the log, without a row.
	emitted bool
}

func (s shape) String() string {
	text := fmt.Sprintf("%d B x %d a tx", s.bytes, s.rows)
	if s.emitted {
		return text + ", emitted"
	}
	return text
}

const (
	// aggregates is the number of aggregates of every backlog.
	aggregates = 10_000
	// base is the slot that is copied for each contestant, so that all of them read the same log.
	base = "base"
	// traceparent has the headers of every event.
	traceparent = `{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`
)

// backlog is a database with events that a slot has not confirmed yet.
type backlog struct {
	server    *pgtest.Server
	authority string // file with the certificate authority of the server
	database  string
	events    int
	begin     string // position before the first event
	end       string // end position of the last event
	wal       int    // bytes of log that an event takes
}

// newDatabase creates a database with the outbox schema and the slot base. The backlog of that slot
// begins with the next written event.
func (r *run) newDatabase(ctx context.Context, name string) (*backlog, error) {
	b := &backlog{server: r.server, authority: r.tls.authority, database: name}
	admin := &backlog{server: r.server, database: "postgres"}
	if err := admin.exec(ctx, "CREATE DATABASE "+name); err != nil {
		return nil, err
	}
	migrate := exec.CommandContext(ctx, r.Relays[0], "migrate")
	migrate.Env = append(os.Environ(), "DATABASE_URL="+b.url(tcp))
	if output, err := migrate.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("migrate: %w\n%s", err, output)
	}
	return b, b.exec(ctx, "SELECT pg_create_logical_replication_slot('"+base+"_"+name+"', 'pgoutput')")
}

// fill writes the events of a backlog.
func (b *backlog) fill(ctx context.Context, s shape, events int) error {
	const writers = 4
	var size string
	if err := b.query(ctx, "SELECT pg_current_wal_insert_lsn()::text", &b.begin); err != nil {
		return err
	}
	transactions := events / s.rows
	writing, all := errgroup.WithContext(ctx)
	for w := range writers {
		writing.Go(func() error {
			ctx := all
			conn, err := pgx.Connect(ctx, b.url(tcp))
			if err != nil {
				return err
			}
			defer conn.Close(context.WithoutCancel(ctx))
			if _, err := conn.Exec(ctx, "SET synchronous_commit = off"); err != nil {
				return err
			}
			for n := w; n < transactions; n += writers {
				if err := write(ctx, conn, s); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := writing.Wait(); err != nil {
		return fmt.Errorf("fill the backlog: %w", err)
	}
	b.events += transactions * s.rows
	err := b.query(ctx, fmt.Sprintf("SELECT ((pg_current_wal_insert_lsn() - '%s') / %d)::int::text", b.begin, b.events),
		&size)
	if err != nil {
		return err
	}
	if b.wal, err = strconv.Atoi(size); err != nil {
		return err
	}
	return b.query(ctx, "SELECT pg_switch_wal(); CHECKPOINT; SELECT pg_current_wal_insert_lsn()::text", &b.end)
}

const (
	insertRows = `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, headers)
		SELECT gen_random_uuid(), 'order', (random() * $1)::int::text, 'order.created', $2::json, $3::jsonb
		FROM generate_series(1, $4)`
	// The broker counts events by the attribute sequence, which is a header here.
	emitMessages = `SELECT pg_logical_emit_message(true, 'outbox', json_build_object('id', gen_random_uuid(),
		'aggregate_type', 'order', 'aggregate_id', (random() * $1)::int::text, 'event_type', 'order.created',
		'payload', $2::json, 'headers', json_build_object('traceparent', $3::json->>'traceparent',
			'sequence', nextval('outbox_events_seq_seq')::text))::text) FROM generate_series(1, $4)`
)

// write commits one transaction.
func write(ctx context.Context, conn *pgx.Conn, s shape) error {
	statement := insertRows
	if s.emitted {
		statement = emitMessages
	}
	_, err := conn.Exec(ctx, statement, aggregates, payload(s.bytes), traceparent, s.rows)
	return err
}

// payload returns a JSON document of this size.
func payload(bytes int) string {
	const begin, end = `{"order_id":"0193f7a2-7b1e-7c3a-9c55-0242ac120002","currency":"EUR","lines":"`, `"}`
	return begin + strings.Repeat("x", bytes-len(begin)-len(end)) + end
}

// newSlot creates a slot at the start of the backlog.
func (b *backlog) newSlot(ctx context.Context, name string) error {
	return b.exec(ctx, fmt.Sprintf("SELECT pg_copy_logical_replication_slot('%s_%s', '%s')", base, b.database, name))
}

// dropSlot drops a slot once it is free, with the checkpoint of its relay.
func (b *backlog) dropSlot(ctx context.Context, name string) error {
	return b.exec(ctx, `DO $$ BEGIN
		FOR i IN 1..100 LOOP
			EXIT WHEN NOT (SELECT active FROM pg_replication_slots WHERE slot_name = '`+name+`');
			PERFORM pg_sleep(0.05);
		END LOOP;
		DELETE FROM relay_checkpoints WHERE slot_name = '`+name+`';
	END $$; SELECT pg_drop_replication_slot('`+name+`')`)
}

// metered calls read, and returns the processor time of the slot's walsender in microseconds for
// each event of b.
func (b *backlog) metered(ctx context.Context, slot string, read func() error) (float64, error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	used := make(chan time.Duration, 1)
	go func() { used <- b.walsender(reading, slot) }()
	err := read()
	stop()
	return float64((<-used).Microseconds()) / float64(b.events), err
}

// walsender polls the processor time of a slot's walsender until ctx ends. The walsender may end
// before.
func (b *backlog) walsender(ctx context.Context, slot string) (used time.Duration) {
	pid := 0
	for {
		if pid == 0 {
			var text string
			// the next poll retries
			_ = b.query(ctx,
				"SELECT coalesce(active_pid, 0)::text FROM pg_replication_slots WHERE slot_name = '"+slot+"'", &text)
			pid, _ = strconv.Atoi(text)
		} else {
			used = max(used, usageOf(pid).processor)
		}
		select {
		case <-ctx.Done():
			return used
		case <-time.After(pollInterval):
		}
	}
}

// link is the connection of clients to the server, and of a relay to the broker.
type link string

const (
	secured link = "TLS" // to server and broker, as on AWS
	tcp     link = "TCP"
	socket  link = "socket" // to the server; the broker uses TCP
)

func (b *backlog) url(l link) string {
	plain := b.server.URL(b.database, pgtest.Superuser)
	switch l {
	case tcp:
		return plain
	case secured:
		return strings.Replace(plain, "sslmode=disable",
			"sslmode=verify-full&sslrootcert="+url.QueryEscape(b.authority), 1)
	}
	query := url.Values{"host": {b.server.SocketDir()}, "port": {strconv.Itoa(b.server.Port())}}
	return "postgres://" + pgtest.Superuser + "@/" + b.database + "?" + query.Encode()
}

func (b *backlog) exec(ctx context.Context, statement string) error {
	return b.query(ctx, statement, nil)
}

// query runs statements and reads the one text that the last of them returns, unless text is nil.
func (b *backlog) query(ctx context.Context, statements string, text *string) error {
	conn, err := pgx.Connect(ctx, b.url(tcp))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	results, err := conn.PgConn().Exec(ctx, statements).ReadAll()
	if err != nil {
		return fmt.Errorf("%.60s…: %w", statements, err)
	}
	if text != nil {
		*text = string(results[len(results)-1].Rows[0][0])
	}
	return nil
}
