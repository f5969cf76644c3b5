package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	sdklogging "github.com/aws/smithy-go/logging"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/leadership"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
	"github.com/outbox-relay/outbox-relay/relay/internal/relay"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// prepare checks everything that the relay needs, reports all findings together, and opens the
// destinations.
func (s *relaySettings) prepare(ctx context.Context, log *slog.Logger, progress preflight.Progress) (relay.Config,
	preflight.Findings,
) {
	config, err := s.config()
	found := preflight.Requirement{Subject: "the settings", Check: func(context.Context) preflight.Findings {
		found := append(preflight.FromErrors(preflight.CodeSettings, "settings", err), presetFinding(s.Preset)...)
		return append(found, unknownSettings(os.Environ())...)
	}}.Run(ctx, progress)
	if err == nil {
		found = append(found, preflight.Routes(ctx, config.Router, progress)...)
	}
	found = append(found, s.checkDatabase(ctx, config, progress)...)
	if found.Err() == nil {
		found = append(found, s.checkStart(ctx, config, progress)...)
	}
	if config.Router == nil {
		return config, found
	}
	config.CheckTables = s.checks(config).CheckTables
	destinations, more := s.checkDestinations(ctx, log, config, progress)
	config.Destinations = destinations
	return config, append(found, more...)
}

// checkDatabase checks the database.
func (s *relaySettings) checkDatabase(ctx context.Context, config relay.Config,
	progress preflight.Progress,
) preflight.Findings {
	var pool *pgxpool.Pool
	found := preflight.Requirement{Subject: "the settings", Check: func(ctx context.Context) preflight.Findings {
		var err error
		pool, err = control.OpenPool(ctx, s.connect)
		return preflight.FromErrors(preflight.CodeDatabase, "database", err)
	}}.Run(ctx, progress)
	if pool == nil {
		return found
	}
	defer control.Close(pool)
	checks := s.checks(config)
	checks.Pool = pool
	return checks.Check(ctx, progress)
}

// checks are the checks of the database.
func (s *relaySettings) checks(config relay.Config) preflight.Database {
	return preflight.Database{
		OpenStream:  relay.StreamOpener(config),
		Slot:        config.Slot,
		Publication: config.Publication,
		Table:       config.Table,
		Emitted:     config.Emitted,
		Removes:     config.Retention > 0,
		Defers:      config.Delivery.ParkAfter > 0,
		RowsStay:    config.RowsStay,
		StartsSince: config.Start.Mode == leadership.StartSince,
		IDUnique:    s.IDUnique == "assert",
		FIFO:        config.Router != nil && slices.ContainsFunc(config.Router.Destinations(), isFIFO),
	}
}

// isFIFO reports whether a destination uses the event id for deduplication. An invalid name is a
// finding of the destinations.
func isFIFO(name string) bool {
	destination, err := sink.ParseDestination(name)
	return err == nil && destination.FIFO
}

// checkStart checks that the first start knows whether to publish the existing rows.
func (s *relaySettings) checkStart(ctx context.Context, config relay.Config,
	progress preflight.Progress,
) preflight.Findings {
	object := "slot " + config.Slot
	return preflight.Requirement{Subject: "the outbox table", Check: func(ctx context.Context) preflight.Findings {
		pool, err := control.OpenPool(ctx, s.connect)
		if err == nil {
			defer control.Close(pool)
			err = relay.CheckStart(ctx, pool, config)
		}
		if err != nil {
			return preflight.FromErrors(preflight.CodeStart, object, err)
		}
		return preflight.Findings{{
			Code: preflight.CodeStart, Level: preflight.OK, Object: object,
			Explanation: "it is known which existing rows are published: the checkpoint or RELAY_START says so, or " +
				"there are none",
		}}
	}}.Run(ctx, progress)
}

// checkDestinations checks and opens the topics, queues and buses.
func (s *relaySettings) checkDestinations(
	ctx context.Context, log *slog.Logger, config relay.Config, progress preflight.Progress,
) ([]delivery.Destination, preflight.Findings) {
	var settings aws.Config
	found := preflight.Requirement{Subject: "AWS settings", Check: func(ctx context.Context) preflight.Findings {
		var err error
		if settings, err = preflight.LoadAWS(ctx, s.Timeout, awsconfig.WithLogger(sdkLogger(log))); err != nil {
			err = fmt.Errorf("AWS settings in AWS_PROFILE, AWS_CA_BUNDLE and the files that these name: %w", err)
		}
		return preflight.FromErrors(preflight.CodeAWS, "AWS settings", err)
	}}.Run(ctx, progress)
	if found.Err() != nil {
		return nil, found
	}
	// The check of the settings has already reported a destination without a name.
	all, named := config.Router.Destinations(), config.Router.Named()
	names := slices.DeleteFunc(slices.Clone(all[:named]), func(name string) bool { return name == "" })
	destinations, found := preflight.Destinations{
		AWS:   settings,
		Names: names, Patterned: all[named:],
		Opened: func(found preflight.Findings) { logFindings(log, found) },
		Options: sink.Options{
			RequestTimeout: s.Timeout, InFlight: s.inFlight(http.ProxyFromEnvironment),
			Client: sink.Client(s.AWSClient), Entry: sink.Entry{Source: s.BusSource, DetailType: s.BusType},
		},
		GroupBatches: s.GroupBatches,
		Tenant:       config.Router.Tenant().String(),
		Unordered:    !config.Table.HasOrder(),
	}.Check(ctx, progress)
	if s.LargeBucket != "" && found.Err() == nil {
		large := preflight.LargeEvents{AWS: settings, Bucket: s.LargeBucket}
		found = append(found, large.Check(ctx, destinations, progress)...)
	}
	return destinations, found
}

// logFindings logs the findings of a destination that was opened.
func logFindings(log *slog.Logger, found preflight.Findings) {
	for _, f := range found {
		level := slog.LevelInfo
		if f.Level != preflight.OK {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, f.Explanation, "event", "destination_opened", "finding", f.Code,
			"object", f.Object)
	}
}

// sdkLogger passes the messages of the AWS SDK to the relay's log.
func sdkLogger(log *slog.Logger) sdklogging.Logger {
	return sdklogging.LoggerFunc(func(classification sdklogging.Classification, format string, v ...any) {
		level := slog.LevelWarn
		if classification == sdklogging.Debug {
			level = slog.LevelDebug
		}
		log.Log(context.Background(), level, "AWS SDK: "+fmt.Sprintf(format, v...))
	})
}

// connect reads the connection settings on every call, because libpq's password file can change.
func (d database) connect(ctx context.Context) (*pgx.ConnConfig, error) {
	if strings.TrimSpace(d.DatabaseURL) == "" && os.Getenv("PGHOST") == "" {
		return nil, errors.New("DATABASE_URL is not set: set it to postgres://USER:PASSWORD@HOST:5432/DATABASE, " +
			"or set PGHOST and the other variables of libpq")
	}
	return postgres.Settings{URL: d.DatabaseURL, Auth: d.DatabaseAuth, SecretARN: d.DatabaseSecretARN}.ConnConfig(ctx)
}
