package e2e_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
)

// outboxevent is the table of Debezium's outbox event router, with the publication that its
// connector creates by default.
const outboxevent = `
	CREATE TABLE outboxevent (id uuid NOT NULL PRIMARY KEY, aggregatetype varchar(255) NOT NULL,
		aggregateid varchar(255) NOT NULL, type varchar(255) NOT NULL, payload jsonb);
	CREATE TABLE shipments (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text);
	CREATE PUBLICATION dbz_publication FOR ALL TABLES`

// writeOutboxevent writes an event, and a row of another table that the publication has too.
const writeOutboxevent = `
	WITH change AS (INSERT INTO shipments (note) VALUES ('an order') RETURNING id)
	INSERT INTO outboxevent SELECT $1::uuid, 'order', $2, 'OrderCreated', $3::jsonb FROM change`

// connector stands for Debezium's connector: another client that reads the slot with pgoutput,
// publishes each event, and confirms the position of the last one twice a second.
type connector struct {
	t    *testing.T
	slot string
	conn *pgconn.PgConn
	done chan struct{}
	ends map[string]pglogrepl.LSN // of the transaction of each event; to be read once done is closed

	mu        sync.Mutex
	published map[string]bool
}

// startConnector creates the slot and reads it.
func (w *testEnv) startConnector(ctx context.Context, publication string) *connector {
	w.t.Helper()
	config, err := pgconn.ParseConfig(w.url)
	w.must(err)
	config.RuntimeParams["replication"] = "database"
	c := &connector{t: w.t, slot: w.slot, done: make(chan struct{}), published: map[string]bool{}}
	c.ends = map[string]pglogrepl.LSN{}
	c.conn, err = pgconn.ConnectConfig(ctx, config)
	w.must(err)
	_, err = pglogrepl.CreateReplicationSlot(ctx, c.conn, c.slot, "pgoutput", pglogrepl.CreateReplicationSlotOptions{})
	w.must(err)
	w.must(pglogrepl.StartReplication(ctx, c.conn, c.slot, 0, pglogrepl.StartReplicationOptions{
		PluginArgs: []string{"proto_version '1'", "publication_names '" + publication + "'"},
	}))
	go c.run(ctx)
	return c
}

// run ends with ctx, without a last confirmation, as a connector that is killed.
func (c *connector) run(ctx context.Context) {
	defer close(c.done)
	defer func() { _ = c.conn.Close(context.Background()) }()
	decoder := pgoutput.NewDecoder(outboxtable.Table{
		Schema: "public", Name: "outboxevent", Columns: outboxtable.Columns{ID: "id", Payload: "payload"},
	})
	var position pglogrepl.LSN
	var transaction []string
	for confirmed := time.Now(); ; {
		if position != 0 && time.Since(confirmed) > 500*time.Millisecond {
			update := pglogrepl.StandbyStatusUpdate{WALWritePosition: position}
			if err := pglogrepl.SendStandbyStatusUpdate(ctx, c.conn, update); err != nil {
				break
			}
			confirmed = time.Now()
		}
		data, err := c.receive(ctx)
		if err != nil {
			if ctx.Err() == nil {
				c.t.Error(err)
			}
			return
		}
		if data == nil {
			continue
		}
		m, err := decoder.Decode(data)
		if err != nil {
			c.t.Error(err)
			return
		}
		switch m.Kind {
		case pgoutput.KindRow:
			c.publish(m.Row.ID)
			transaction = append(transaction, m.Row.ID)
		case pgoutput.KindCommit:
			position = m.Commit.TransactionEndLSN
			for _, id := range transaction {
				c.ends[id] = position
			}
			transaction = nil
		}
	}
}

// receive returns the next message of the output plugin, or nothing if none comes soon.
func (c *connector) receive(ctx context.Context) ([]byte, error) {
	soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	message, err := c.conn.ReceiveMessage(soon)
	if err != nil {
		if pgconn.Timeout(err) && ctx.Err() == nil {
			return nil, nil
		}
		return nil, err
	}
	data, ok := message.(*pgproto3.CopyData)
	if !ok {
		return nil, errors.New("the server ended the stream")
	}
	if data.Data[0] != pglogrepl.XLogDataByteID {
		return nil, nil
	}
	x, err := pglogrepl.ParseXLogData(data.Data[1:])
	return x.WALData, err
}

func (c *connector) publish(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.published[id] = true
}

// count returns how many events the connector has published.
func (c *connector) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.published)
}

// TestTheRelayContinuesADebeziumSlot follows relay/docs/from-debezium.md under load. The connector
// is another client that reads the slot as Debezium's does, not Debezium itself.
func TestTheRelayContinuesADebeziumSlot(t *testing.T) {
	t.Parallel()
	for _, publication := range []string{"dbz_publication", "outbox_pub"} {
		t.Run(publication, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			w.allTables()
			ctx, kill := context.WithCancel(t.Context())
			defer kill()
			c := w.startConnector(ctx, "dbz_publication")
			l := w.startTraffic(writeOutboxevent)
			w.eventually("the connector publishes", func() bool { return c.count() > 100 })
			w.exec(`ALTER PUBLICATION outbox_pub SET TABLE outboxevent`)
			created := w.query(`SELECT pg_current_wal_insert_lsn()::text`)
			w.eventually("the slot is confirmed behind the publication", func() bool {
				return w.query(`SELECT (confirmed_flush_lsn > $2::pg_lsn)::text FROM pg_replication_slots
					WHERE slot_name = $1`, w.slot, created) == "true"
			})
			env := []string{"RELAY_PRESET=debezium", "RELAY_PUBLICATION=" + publication, "RELAY_START=now"}
			if output, err := w.command(env, "check"); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			kill()
			<-c.done
			once := w.confirmedEvents(c)
			p := w.startStreaming(env...)
			p.awaitLog("event=slot_adopted")
			seen := len(l.all())
			w.eventually("further events are written", func() bool { return len(l.all()) > seen+100 })
			l.stop()
			all := l.all()
			h := w.awaitHandover(all, c.published, w.queue.ARN, "id")
			h.check(t, all, once)
			w.requireOrder(w.queue.ARN)
		})
	}
}

// confirmedEvents returns the events that a connector which has ended has confirmed.
func (w *testEnv) confirmedEvents(c *connector) map[string]bool {
	w.t.Helper()
	w.awaitFreeSlot() // the walsender has read the last confirmation by then
	confirmed, err := pglogrepl.ParseLSN(w.query(`SELECT confirmed_flush_lsn::text FROM pg_replication_slots
		WHERE slot_name = $1`, w.slot))
	w.must(err)
	events := map[string]bool{}
	for id, end := range c.ends {
		if end <= confirmed {
			events[id] = true
		}
	}
	return events
}

// allTables creates Debezium's table and publication, which only a superuser may create.
func (w *testEnv) allTables() {
	w.t.Helper()
	admin, err := pgx.Connect(w.t.Context(), pgtest.SuperuserURL(w.t, w.url))
	w.must(err)
	defer func() { _ = admin.Close(context.Background()) }()
	_, err = admin.Exec(w.t.Context(), outboxevent+`;
		ALTER TABLE outboxevent OWNER TO `+pgtest.Role+`; ALTER TABLE shipments OWNER TO `+pgtest.Role)
	w.must(err)
}
