package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// memoryLimit is what the garbage collector keeps the relay to: the window at its default size, requests under way, and
// some air. GOMEMLIMIT says otherwise, for larger windows. https://pkg.go.dev/runtime#hdr-Environment_Variables
const memoryLimit = 44 << 20

type runCommand struct{ relaySettings }

// Run relays until ctx ends.
func (c *runCommand) Run(ctx context.Context) error {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	log := c.logger(os.Stderr)
	config, warnings, err := c.prepare(ctx)
	if err != nil {
		return fmt.Errorf("cannot start:\n%w", err)
	}
	for _, warning := range warnings {
		log.Warn(warning)
	}
	config.Log = log
	config.Metrics = health.NewMetrics()
	config.Health = health.New(config.Metrics)
	if c.Listen == "" {
		return relay.Run(ctx, config)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // until the relay has stopped
	defer stop()
	wait, err := config.Health.Serve(serving, c.Listen)
	if err != nil {
		return err
	}
	log.Info("relay started", "version", version, "slot", c.Slot, "table", c.Table, "destinations", config.Router.Destinations(), "listen", c.Listen)
	err = relay.Run(ctx, config)
	stop()
	return errors.Join(err, wait())
}

type checkCommand struct{ relaySettings }

// Run prints everything that would stop the relay.
func (c *checkCommand) Run(ctx context.Context, w io.Writer) error {
	_, warnings, err := c.prepare(ctx)
	for _, warning := range warnings {
		fmt.Fprintln(w, "warning:", warning)
	}
	if err != nil {
		return fmt.Errorf("run would not start:\n%w", err)
	}
	_, err = fmt.Fprintln(w, "nothing stands in the way of relay run")
	return err
}

// prepare checks everything that a relay needs, all at once, and opens its destinations.
func (s *relaySettings) prepare(ctx context.Context) (relay.Config, []string, error) {
	config, settingsErr := s.config()
	databaseErr := s.checkDatabase(ctx, config)
	if config.Router == nil {
		return config, nil, errors.Join(settingsErr, databaseErr)
	}
	aws, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return config, nil, errors.Join(settingsErr, databaseErr, fmt.Errorf("AWS settings: %w", err))
	}
	var names []string
	for _, name := range config.Router.Destinations() {
		if name != "" { // named among the settings' problems
			names = append(names, name)
		}
	}
	destinations, warnings, destinationsErr := preflight.Destinations{
		AWS:          aws,
		Names:        names,
		Options:      sink.Options{RequestTimeout: s.Timeout, InFlight: s.InFlight},
		GroupBatches: s.GroupBatches,
	}.Open(ctx)
	config.Destinations = destinations
	return config, warnings, errors.Join(settingsErr, databaseErr, destinationsErr)
}

func (s *relaySettings) checkDatabase(ctx context.Context, config relay.Config) error {
	pool, err := relay.OpenPool(ctx, s.connect)
	if err != nil {
		return err
	}
	defer pool.Close()
	err = preflight.Database{
		Pool: pool, Slot: config.Slot, Publication: config.Publication, Table: config.Table, Removes: config.Retention > 0,
	}.Check(ctx)
	if err != nil {
		return err
	}
	if _, err := parseStart(s.Start, s.ColumnCreatedAt); err != nil {
		return nil // named among the settings' problems
	}
	return relay.CheckStart(ctx, pool, config)
}

// connect reads the settings of the connection anew each time, as libpq's password file may have changed.
func (d database) connect(context.Context) (*pgx.ConnConfig, error) {
	if d.DatabaseURL == "" && os.Getenv("PGHOST") == "" {
		return nil, errors.New("DATABASE_URL is not set: write postgres://USER:PASSWORD@HOST:5432/DATABASE, or set PGHOST and the like")
	}
	config, err := pgx.ParseConfig(d.DatabaseURL)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL, as in postgres://USER:PASSWORD@HOST:5432/DATABASE: %w", err)
	}
	return config, nil
}
