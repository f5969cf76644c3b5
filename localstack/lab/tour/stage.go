package tour

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// billingType is the event type that the routes send to the second queue.
const billingType = "invoice.issued"

// stage has the parts of a tour: server, broker, two relays, and the load.
type stage struct {
	Options
	began   time.Time
	server  *pgtest.Server
	broker  *fakeaws.Server
	orders  fakeaws.Queue
	billing fakeaws.Queue
	relays  [2]*relay
	load    *load
	camera  *camera
}

func open(ctx context.Context, o Options) (*stage, error) {
	s := &stage{Options: o, began: time.Now()}
	if err := s.openAll(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stage) openAll(ctx context.Context) error {
	if err := os.RemoveAll(s.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	if s.Pictures != "" {
		var err error
		if s.camera, err = newCamera(ctx, s.Pictures); err != nil {
			return err
		}
	}
	if err := s.openDatabase(ctx); err != nil {
		return err
	}
	s.load = newLoad()
	if err := s.openBroker(); err != nil {
		return err
	}
	for i := range s.relays {
		if err := s.startRelay(i); err != nil {
			return err
		}
	}
	err := s.await(ctx, "one relay streams and the other stands by", func() bool {
		return s.streaming(ctx) >= 0 && s.states(ctx)["standby"] == 1
	})
	if err != nil {
		return err
	}
	if err := s.camera.open(fmt.Sprintf("http://127.0.0.1:%d", s.Ports[0])); err != nil {
		return err
	}
	return s.load.start(ctx, s.databaseURL())
}

// openDatabase starts a server with a schema of its own. A restarted tour begins with no event.
func (s *stage) openDatabase(ctx context.Context) (err error) {
	s.say("starting Postgres, the broker and two relays")
	s.server, err = pgtest.Start(ctx, pgtest.Options{CacheDir: s.CacheDir})
	if err != nil {
		return fmt.Errorf("start Postgres: %w", err)
	}
	conn, err := pgx.Connect(ctx, s.databaseURL())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, _, err = migrations.Migrate(ctx, conn)
	return err
}

func (s *stage) databaseURL() string { return s.server.URL("postgres", pgtest.Superuser) }

func (s *stage) openBroker() (err error) {
	s.broker, err = fakeaws.Start(fakeaws.Options{Accepted: s.load.accept})
	if err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	s.load.object = s.broker.Object
	s.broker.CreateBucket(largeBucket)
	s.orders, err = s.broker.CreateQueue("orders.fifo", nil)
	if err != nil {
		return err
	}
	s.billing, err = s.broker.CreateQueue("billing.fifo", nil)
	return err
}

func (s *stage) close() {
	s.camera.close()
	if s.load != nil {
		s.load.stop()
	}
	for _, r := range s.relays {
		if r != nil {
			r.stop()
		}
	}
	if s.broker != nil {
		_ = s.broker.Close()
	}
	if s.server != nil {
		_ = s.server.Stop(pgtest.Fast)
	}
}

// showStatus prints the output of relay status, and takes a picture of the same on the page, down
// to a section.
func (s *stage) showStatus(ctx context.Context, picture, section string) error {
	if err := s.show(ctx, "status"); err != nil {
		return err
	}
	return s.camera.take(picture, section)
}

// exec runs a statement in a session of its own.
func (s *stage) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.databaseURL())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, statement)
	return err
}

const (
	// lookInterval is the pause between two looks at a condition.
	lookInterval = 100 * time.Millisecond
	// patience is the longest time in which a reaction has to come.
	patience = time.Minute
)

// await returns once the condition holds. It repeats the condition every five seconds.
func (s *stage) await(ctx context.Context, condition string, holds func() bool) error {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for began, said := time.Now(), time.Now(); !holds(); {
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			s.say("waiting until %s", condition)
		}
		if time.Since(began) > patience {
			return fmt.Errorf("it did not happen within %s that %s", patience, condition)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
