package chaos

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// open is a transaction with one event that is not yet committed or rolled back.
type open struct {
	*act
	conn  *pgx.Conn
	event checker.Event
}

func (a *act) writeOpen(ctx context.Context) (*open, error) {
	return a.writeOpenWith(ctx, func(*checker.Event) {})
}

// writeOpenWith begins a transaction with an event of a new aggregate, changed by edit. It returns
// nil if the server is down.
func (a *act) writeOpenWith(ctx context.Context, edit func(*checker.Event)) (*open, error) {
	conn, err := pgx.Connect(ctx, a.cluster.url(a.database, writerRole))
	if err != nil {
		return nil, nil
	}
	o := &open{act: a, conn: conn, event: a.eventOfNewAggregate()}
	edit(&o.event)
	tx, err := conn.Begin(ctx)
	if err == nil {
		err = a.shape.write(ctx, tx, o.event)
	}
	if err != nil {
		return nil, conn.Close(ctx)
	}
	return o, nil
}

// eventOfNewAggregate returns an event of an aggregate that no writer uses.
func (a *act) eventOfNewAggregate() checker.Event {
	d := &a.destinations[a.random.IntN(len(a.destinations))]
	table, id := a.shape.place(a.random.IntN(100), fmt.Sprintf("own-%d", a.random.Uint64()))
	return a.newEvent(a.random, aggregate{destination: d, table: table, id: id})
}

func (o *open) commit(ctx context.Context) {
	outcome := checker.Committed
	if _, err := o.conn.Exec(ctx, `COMMIT`); err != nil {
		outcome = checker.Unknown
	}
	o.recorder.wrote(outcome, []checker.Event{o.event})
	_ = o.conn.Close(ctx)
}
