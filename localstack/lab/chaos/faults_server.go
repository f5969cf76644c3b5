package chaos

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// serverFaults stop, kill and restart Postgres.
var serverFaults = []fault{
	{name: "server restarted", weight: 2, repeats: true, do: restart(func(s *pgtest.Server) error {
		return s.Stop(pgtest.Fast)
	})},
	{name: "server stopped at once", weight: 2, repeats: true, do: restart(func(s *pgtest.Server) error {
		return s.Stop(pgtest.Immediate)
	})},
	{name: "server killed", weight: 3, repeats: true, do: restart((*pgtest.Server).Kill)},
	{name: "xids reused", weight: 2, repeats: true, losesLog: true, do: reuseXIDs},
}

func restart(stop func(*pgtest.Server) error) func(context.Context, *act) error {
	return func(ctx context.Context, a *act) error {
		began := time.Now()
		if err := stop(a.cluster.server); err != nil {
			return err
		}
		if took := time.Since(began); took > 10*time.Second {
			a.recorder.problem("the server needed %v to stop", took)
		}
		pause(ctx, a.within(500*time.Millisecond))
		return a.bringUp(ctx)
	}
}

// bringUp starts the server again and commits prepared transactions, whose writers have lost their
// connections.
func (a *act) bringUp(ctx context.Context) error {
	var err error
	if !await(ctx, 20*time.Second, func() bool { err = a.cluster.server.Restart(ctx); return err == nil }) {
		return err // the last error; shared memory of a killed server may remain for a moment
	}
	a.admin.Reset()
	a.writers.Reset()
	return a.endPrepared(ctx)
}

// endPrepared commits every prepared transaction of the run's database.
func (r *run) endPrepared(ctx context.Context) error {
	rows, err := r.admin.Query(ctx, `SELECT gid FROM pg_prepared_xacts WHERE database = current_database()`)
	if err != nil {
		return fmt.Errorf("look for prepared transactions: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for prepared transactions: %w", err)
	}
	for _, id := range ids {
		// its writer was faster
		if err := r.exec(ctx, `COMMIT PREPARED '`+id+`'`); err != nil && !hasCode(err, "42704", "55000") {
			return fmt.Errorf("end prepared transaction: %w", err)
		}
	}
	return nil
}

// repair ends all faults of processes and networks.
func (r *run) repair(ctx context.Context) error {
	for _, p := range r.relays.running() {
		p.signal(syscall.SIGCONT)
	}
	for _, w := range r.links {
		w.network.Mend()
	}
	r.admin.Reset()
	return r.endPrepared(ctx)
}
