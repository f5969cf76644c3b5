// Command migrate migrates the schema to the newest version, part by part: outbox, orders, inbox
// and shipments. It grants the roles of the relay and of the functions their privileges. As a
// Lambda function it does so for a CloudFormation custom resource and on every direct invocation.
// Anywhere else it does so once.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/jackc/pgx/v5"

	orders "github.com/outbox-relay/outbox-relay/functions/internal/order/migrations"
	"github.com/outbox-relay/outbox-relay/functions/internal/settings"
	shipments "github.com/outbox-relay/outbox-relay/functions/internal/shipment/migrations"
	inbox "github.com/outbox-relay/outbox-relay/relay/inbox/migrations"
	outbox "github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Getenv, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "migrate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, getenv func(string) string, out io.Writer) error {
	// Settings are read for each event, so that CloudFormation shows their problems.
	work := func(ctx context.Context) (versions, error) {
		s, err := settings.Load(getenv)
		if err != nil {
			return versions{}, err
		}
		return migrate(ctx, s)
	}
	// Lambda sets it. https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
	if getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		lambda.StartWithOptions(handler(work), lambda.WithContext(ctx))
		return nil
	}
	v, err := work(ctx)
	if err != nil {
		return err
	}
	for _, p := range v.parts() {
		fmt.Fprintf(out, "%s schema: version %d, was %d\n", p.name, p.change.To, p.change.From)
	}
	for _, statement := range v.Left {
		fmt.Fprintf(out, "this role lacks the privileges for a statement: run it as a privileged role, "+
			"then migrate again: %s\n", statement)
	}
	return nil
}

// versions are the versions of the schema before and after.
type versions struct {
	Outbox    change `json:"outbox"`
	Orders    change `json:"orders"`
	Inbox     change `json:"inbox"`
	Shipments change `json:"shipments"`
	// Left are statements about roles for which this role lacks the privileges.
	Left []string `json:"left,omitempty"`
}

type change struct {
	From int32 `json:"from"`
	To   int32 `json:"to"`
}

// part is one part of the schema.
type part struct {
	name    string
	migrate func(context.Context, *pgx.Conn) (from, to int32, err error)
	change  *change
}

// parts returns the parts in the order of their migration.
func (v *versions) parts() []part {
	return []part{
		{"outbox", outbox.Migrate, &v.Outbox},
		{"orders", orders.Migrate, &v.Orders},
		{"inbox", inbox.Migrate, &v.Inbox},
		{"shipments", shipments.Migrate, &v.Shipments},
	}
}

// closeTimeout bounds how long the end of the connection may take. A network that forgot the
// connection gives no answer.
const closeTimeout = 5 * time.Second

func migrate(ctx context.Context, s settings.Settings) (v versions, err error) {
	conn, err := await(ctx, s)
	if err != nil {
		return versions{}, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, conn.Close(closing))
	}()
	for _, p := range v.parts() {
		if p.change.From, p.change.To, err = p.migrate(ctx, conn); err != nil {
			return v, err
		}
	}
	if v.Left, err = outbox.GrantRoles(ctx, conn); err != nil {
		return v, err
	}
	if err := orders.Grant(ctx, conn); err != nil {
		return v, err
	}
	return v, shipments.Grant(ctx, conn)
}
