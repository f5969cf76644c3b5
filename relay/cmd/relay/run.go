package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	sdklogging "github.com/aws/smithy-go/logging"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/internal/emf"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// memoryLimit is what the garbage collector keeps the relay to: the window at its default size, requests under way, and
// some air. A container of 64 MB holds it with the program itself, 14 MB, and with what a collector that gets too little of a
// busy machine lets pass, 8 MB in `make outage`. GOMEMLIMIT says otherwise, for larger windows.
// https://pkg.go.dev/runtime#hdr-Environment_Variables
const memoryLimit = 40 << 20

const (
	// askTimeout bounds what the database may take to answer at the start, and what all destinations may. Both together, and the
	// wait until they are asked again, stay below the two minutes after which /livez gives the relay up.
	askTimeout = 30 * time.Second
	// askAgainMin and askAgainMax bound the wait between two attempts at the start.
	askAgainMin, askAgainMax = 250 * time.Millisecond, 10 * time.Second
)

type runCommand struct{ relaySettings }

// Run relays until ctx ends.
func (c *runCommand) Run(ctx context.Context) error {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	log := c.logger(os.Stderr)
	metrics := health.NewMetrics()
	h := health.New(metrics)
	h.HideMetrics = c.Metrics == "emf" || c.Metrics == "none"
	stop, listenErr := c.tell(ctx, log, h, metrics)
	config, err := c.await(ctx, log, h, listenErr)
	if err != nil {
		return errors.Join(err, stop())
	}
	config.Log, config.Metrics, config.Health = log, metrics, h
	log.Info("relay started", "version", version, "slot", c.Slot, "table", c.Table, "destinations", config.Router.Destinations(), "listen", c.Listen)
	return errors.Join(relay.Run(ctx, config), stop())
}

// tell serves the probes and tells the metrics, where they are asked for, until stop is called: the relay is alive while it
// starts and while it stops.
func (c *runCommand) tell(ctx context.Context, log *slog.Logger, h *health.Health, metrics *health.Metrics) (stop func() error, err error) {
	telling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var parts errgroup.Group
	if c.Listen != "" {
		var served func() error
		if served, err = h.Serve(telling, c.Listen); err == nil {
			parts.Go(served)
		}
	}
	if (c.Metrics == "emf" || c.Metrics == "both") && c.MetricsInterval >= minMetricsInterval { // else that is named with the settings
		parts.Go(func() error {
			emf.NewWriter(metrics.Registry(), c.Slot, os.Stdout).Run(telling, c.MetricsInterval, func(err error) {
				log.Warn("metrics are not written", "err", err)
			})
			return nil
		})
	}
	return func() error {
		cancel()
		return parts.Wait()
	}, err
}

// await checks everything that a relay needs until it is there. What does not answer is asked again, for ever. What only a
// person can mend ends it at once, with everything that is wrong.
func (c *runCommand) await(ctx context.Context, log *slog.Logger, h *health.Health, listenErr error) (relay.Config, error) {
	for attempt := 1; ; attempt++ {
		config, warnings, err := c.prepare(ctx, log)
		err = errors.Join(listenErr, err)
		switch {
		case ctx.Err() != nil:
			return config, ctx.Err()
		case err == nil:
			for _, warning := range warnings {
				log.Warn(warning)
			}
			return config, nil
		case listenErr != nil || !preflight.OnlyAway(err): // an address that is taken does not become free by waiting
			return config, fmt.Errorf("cannot start:\n%w", err)
		}
		h.Failed(err)
		log.Warn("waiting for what does not answer, asking again", "attempt", attempt, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(min(askAgainMax, askAgainMin<<min(attempt-1, 10))):
		}
	}
}

type checkCommand struct{ relaySettings }

// Run prints everything that would stop the relay.
func (c *checkCommand) Run(ctx context.Context, w io.Writer) error {
	_, warnings, err := c.prepare(ctx, c.logger(os.Stderr))
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
func (s *relaySettings) prepare(ctx context.Context, log *slog.Logger) (relay.Config, []string, error) {
	config, settingsErr := s.config()
	databaseErr := s.checkDatabase(ctx, config)
	if config.Router == nil {
		return config, nil, errors.Join(settingsErr, databaseErr)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	aws, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithLogger(sdkLogger(log)))
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
		Options:      sink.Options{RequestTimeout: s.Timeout, InFlight: s.inFlight(http.ProxyFromEnvironment), Client: sink.Client(s.AWSClient)},
		GroupBatches: s.GroupBatches,
	}.Open(ctx)
	config.Destinations = destinations
	return config, warnings, errors.Join(settingsErr, databaseErr, destinationsErr)
}

// sdkLogger passes on what the SDK of AWS has to say.
func sdkLogger(log *slog.Logger) sdklogging.Logger {
	return sdklogging.LoggerFunc(func(classification sdklogging.Classification, format string, v ...any) {
		level := slog.LevelWarn
		if classification == sdklogging.Debug {
			level = slog.LevelDebug
		}
		log.Log(context.Background(), level, "AWS SDK: "+fmt.Sprintf(format, v...))
	})
}

func (s *relaySettings) checkDatabase(ctx context.Context, config relay.Config) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
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
func (d database) connect(ctx context.Context) (*pgx.ConnConfig, error) {
	if d.DatabaseURL == "" && os.Getenv("PGHOST") == "" {
		return nil, errors.New("DATABASE_URL is not set: write postgres://USER:PASSWORD@HOST:5432/DATABASE, or set PGHOST and the like")
	}
	return postgres.Settings{URL: d.DatabaseURL, Auth: d.DatabaseAuth, SecretARN: d.DatabaseSecretARN}.ConnConfig(ctx)
}
