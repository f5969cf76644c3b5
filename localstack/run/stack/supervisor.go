package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// supervisor owns the parts of a stack of processes.
type supervisor struct {
	*Stack
	way Way

	postgres *pgtest.Server
	broker   *procgroup.Process // LocalStack, on the host way
	fake     *fakeaws.Server    // on the embedded way
	relay    *relay
}

// fakeRetention is the number of messages that the fake broker keeps for each queue. The fake
// broker is for trials and not for storage.
const fakeRetention = 1_000_000

// checkPasswords are lines of pg_hba.conf. They make a wrong password fail, as in production.
const checkPasswords = `host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256`

// Supervise starts the stack, reports to progress until every part runs, and keeps it running until
// ctx ends or a part ends that cannot be restarted. It is the background process of the ways host
// and embedded.
func (s *Stack) Supervise(ctx context.Context, progress io.WriteCloser) error {
	unlock, err := s.tryLock("supervisor.lock")
	if err != nil {
		return fmt.Errorf("a supervisor runs already: %w", err)
	}
	defer unlock()
	s.Out, s.began = progress, time.Time{} // the command at the other end prints the elapsed time
	v := &supervisor{Stack: s, way: s.Insist}
	err = v.run(ctx, progress)
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, s.saveEnding(s.Insist, err))
	}
	err = errors.Join(err, v.stop(), s.forget())
	if err != nil {
		fmt.Fprintln(progress, "error: "+strings.ReplaceAll(err.Error(), "\n", "\x00"))
	}
	return err
}

func (v *supervisor) run(ctx context.Context, progress io.WriteCloser) error {
	state := State{
		Way: v.way, Supervisor: os.Getpid(), Started: time.Now().UTC(), Ports: v.Ports,
		Broker: map[Way]string{
			Host:     "LocalStack " + LocalStackVersion,
			Embedded: "a fake, in place of LocalStack",
		}[v.way],
	}
	if err := v.save(state); err != nil { // so that down finds a supervisor that is still starting
		return err
	}
	outputs, err := v.bringUp(ctx, v)
	if err != nil {
		return err
	}
	state.Ready, state.Outputs = true, outputs
	if err := errors.Join(v.save(state), v.forgetEnding()); err != nil {
		return err
	}
	fmt.Fprintln(progress, progressReady)
	if err := progress.Close(); err != nil {
		return fmt.Errorf("close progress: %w", err)
	}
	return v.wait(ctx)
}

// wait returns nil when ctx ends, and an error when Postgres or the broker ends.
func (v *supervisor) wait(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if v.broker != nil {
		go func() {
			select {
			case <-v.broker.Done():
				cancel(fmt.Errorf("the broker ended: %w", v.broker.Err()))
			case <-ctx.Done():
			}
		}()
	}
	if err := v.postgres.Wait(ctx); ctx.Err() == nil {
		return err
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (v *supervisor) startInfrastructure(ctx context.Context) (string, error) {
	if err := v.startBroker(); err != nil { // first, because LocalStack takes seconds to start
		return "", err
	}
	v.begin("starting Postgres (usually 3 seconds, and 10 the first time)")
	dir, err := pgtest.Reachable(v.path("postgres"))
	if err != nil {
		return "", fmt.Errorf("find a folder for Postgres: %w", err)
	}
	v.postgres, err = pgtest.Start(ctx, pgtest.Options{
		Dir: dir, Port: v.Ports.Postgres, CacheDir: v.path("cache"), Durable: true,
		Settings: map[string]string{"max_connections": "100"},
		Progress: func(text string) { v.begin("%s (usually half a minute)", text) },
	})
	if err != nil {
		return "", fmt.Errorf("start Postgres (POSTGRES_PORT=%d): %w", v.Ports.Postgres, err)
	}
	if err := v.postgres.Authenticate(ctx, checkPasswords); err != nil {
		return "", fmt.Errorf("make Postgres check passwords: %w", err)
	}
	if err := linkLog(v.postgres.LogPath(), v.log("postgres")); err != nil {
		return "", err
	}
	return v.postgres.URL("postgres", pgtest.Superuser), nil
}

// linkLog links the server's log, which is in a folder of the server's user, to the folder of the
// other logs.
func linkLog(target, link string) error {
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace the link to the log: %w", err)
	}
	if err := os.Symlink(target, link); err != nil {
		return fmt.Errorf("link the log: %w", err)
	}
	return nil
}

func (v *supervisor) startBroker() (err error) {
	if v.way == Host {
		v.broker, err = v.startLocalStack(v.Ports.Broker, v.path("localstack-data"), v.log("broker"))
		return err
	}
	v.fake, err = fakeaws.Start(fakeaws.Options{Addr: local(v.Ports.Broker), Retain: fakeRetention})
	if err != nil {
		return fmt.Errorf("start the broker (BROKER_PORT=%d): %w", v.Ports.Broker, err)
	}
	return os.WriteFile(v.log("broker"), []byte("the fake broker logs nothing\n"), 0o644)
}

func (v *supervisor) deploy(ctx context.Context, templates messaging.Templates) (messaging.Outputs, error) {
	if v.way == Host {
		return messaging.Deploy(ctx, v.Ports.Endpoint(), templates)
	}
	return messaging.Create(ctx, v.Ports.Endpoint(), templates)
}

func (v *supervisor) startRelay(_ context.Context, destination string) error {
	var environment []string // without the user's settings of a relay or of an AWS account
	settings := relayEnvironment(v.Ports.DatabaseURLOf(migrations.Relay), v.Ports.Endpoint(), local(v.Ports.Relay),
		destination)
	for name, value := range settings {
		environment = append(environment, name+"="+value)
	}
	v.relay = startRelay(relayCommand{path: v.binary("relay"), environment: environment, log: v.log("relay")})
	return nil
}

func (v *supervisor) failed(_ context.Context, part string) error {
	switch {
	case part == "broker" && v.broker != nil:
		select {
		case <-v.broker.Done():
			return fmt.Errorf("it ended: %w: see %s", v.broker.Err(), v.log("broker"))
		default:
		}
	case part == "relay" && v.relay.ends.Load() >= hopelessAfter:
		log, err := os.ReadFile(v.log("relay"))
		return errors.Join(fmt.Errorf("it ended again and again: %s", lastLines(string(log), 5)), err)
	}
	return nil
}

// stop stops the parts in the order of their dependencies. Each of them may not have started.
func (v *supervisor) stop() error {
	var problems []error
	if v.relay != nil {
		problems = append(problems, v.relay.stop())
	}
	if v.fake != nil {
		problems = append(problems, v.fake.Close())
	}
	if v.broker != nil {
		problems = append(problems, v.broker.Stop(syscall.SIGTERM, 20*time.Second))
	}
	if v.postgres != nil {
		problems = append(problems, v.postgres.Stop(pgtest.Fast))
	}
	return errors.Join(problems...)
}
