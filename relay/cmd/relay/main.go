// Command relay streams the committed events of a Postgres outbox table to SNS, SQS and
// EventBridge.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	_ "golang.org/x/crypto/x509roots/fallback" // the image has no root certificates of its own
)

// version is set by the linker in a release build.
var version = "dev"

const description = `Streams the committed events of a Postgres outbox table to SNS topics, SQS queues and ` +
	`EventBridge buses: at least once, in order for each aggregate at FIFO destinations, and without losing one. A ` +
	`flag can also be set by the environment variable that its help ends with.`

// commands are the commands of the relay.
type commands struct {
	Run         runCommand         `cmd:"" help:"Stream and publish events until SIGTERM. Ends with exit code 1 at an error that only an operator can fix."`
	Check       checkCommand       `cmd:"" help:"Report every problem that would stop relay run, and how to fix it."`
	Status      statusCommand      `cmd:"" help:"Show on one screen the relays of a slot, each problem and its next step: exit code 0 ok, 1 warning, 2 critical, 3 unknown."`
	Page        pageCommand        `cmd:"" help:"Serve the status page on this machine. It needs only the database."`
	Recover     recoverCommand     `cmd:"" help:"Show the events that the slot may have missed, and have the relay publish them from the table: after pg_upgrade, a restore, or by hand."`
	Replay      replayCommand      `cmd:"" help:"Make the running relay resend delivered events. Without --yes, only list them."`
	Compare     compareCommand     `cmd:"" help:"Compare what the relay and another publisher delivered, by two files of event ids: exit code 1 if they do not agree."`
	DeadLetters deadLetters        `cmd:"" name:"dead-letters" help:"List, show, redrive or discard events that their destination refused."`
	Pause       pauseCommand       `cmd:"" help:"Make the running relay stop sending to a destination. Its events wait in the outbox table until relay resume."`
	Resume      resumeCommand      `cmd:"" help:"End a pause. The running relay first sends the events that wait, in order."`
	Migrate     migrateCommand     `cmd:"" help:"Create or upgrade the outbox tables, their publication, and the roles outbox_relay and outbox_producer."`
	Healthcheck healthcheckCommand `cmd:"" help:"Ask the relay on this machine whether it is alive: exit code 0 if so. For containers without a shell."`
	Version     versionCommand     `cmd:"" help:"Print the version."`

	PrintVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Args[1:], &terminal{out: os.Stdout})
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		os.Exit(fail(&terminal{out: os.Stderr}, err))
	}
}

// fail prints why the program ends, and returns its exit code.
func fail(stderr io.Writer, err error) int {
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{1, err}
	}
	if exit.err != nil {
		fmt.Fprintln(stderr, "relay:", err)
	}
	return exit.code
}

// run runs the command of args. Without a command it prints the help.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	parser, err := newParser(ctx, stdout, grammarOf(args))
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return printHelp(parser)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return fmt.Errorf("%w (%s)", err, helpFor(err))
	}
	return parsed.Run()
}

// helpFor names the help of the command whose arguments or settings are wrong.
func helpFor(err error) string {
	var wrong *kong.ParseError
	if errors.As(err, &wrong) && wrong.Context.Selected() != nil {
		return "relay " + wrong.Context.Selected().Path() + " --help shows its usage"
	}
	return "relay --help lists the commands"
}

func newParser(ctx context.Context, stdout io.Writer, grammar any, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(grammar, append(options,
		kong.Name("relay"),
		kong.Description(description),
		kong.Vars{"version": version},
		kong.Resolvers(kong.ResolverFunc(resolvePreset)),
		kong.Writers(stdout, os.Stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.BindTo(stdout, (*io.Writer)(nil)),
	)...)
}

func printHelp(parser *kong.Kong) error {
	parsed, err := kong.Trace(parser, nil)
	if err != nil {
		return fmt.Errorf("print the help: %w", err)
	}
	return parsed.PrintUsage(false)
}

// logger returns the logger of these settings.
func (l logging) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.LogLevel)); err != nil {
		level = slog.LevelInfo // unreachable: kong accepts no other level
	}
	options := &slog.HandlerOptions{Level: level}
	if l.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(w io.Writer) error {
	_, err := fmt.Fprintln(w, version)
	return err
}
