package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/run/demo"
	"github.com/outbox-relay/outbox-relay/localstack/run/gateway"
	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

type apiCmd struct {
	Port        int `help:"Port of the API." env:"API_PORT" default:"3000"`
	Concurrency int `help:"Concurrent requests of each function." env:"API_CONCURRENCY" default:"4"`
}

func (c *apiCmd) Run(ctx context.Context, s *stack.Stack) error {
	state, err := s.Load()
	if err != nil {
		return err
	}
	if err := stack.CheckPort(c.Port, "the API", "API_PORT"); err != nil {
		return err
	}
	api, err := startAPI(ctx, s, state, gateway.Options{
		Addr: fmt.Sprintf("127.0.0.1:%d", c.Port), Concurrency: c.Concurrency, Log: os.Stdout,
	})
	if err != nil {
		return err
	}
	fmt.Printf("The API is on %s until Ctrl-C, and the function createshipment reads its queue. Try:\n"+
		"  curl -i %[1]s/orders -H 'Content-Type: application/json' -d '%s'\n", api.URL(), sampleOrder)
	<-ctx.Done()
	return api.Close()
}

// startAPI builds the functions of template.yaml for this machine, and runs them with the database
// and the queue of the stack.
func startAPI(ctx context.Context, s *stack.Stack, state stack.State,
	options gateway.Options,
) (*gateway.Gateway, error) {
	options.Template = filepath.Join(s.Root, "template.yaml")
	options.BuildDir = filepath.Join(s.Dir, "functions")
	options.Env = map[string]string{
		"DATABASE_URL":  state.Ports.DatabaseURLOf(migrations.Producer),
		"DATABASE_AUTH": "password",
	}
	options.Queues = map[string]string{"Shipments.Outputs.QueueArn": state.Outputs.Shipments.QueueArn}
	options.Broker = messaging.Config(state.Ports.Endpoint())
	err := s.During("building the functions (the first time usually 5 seconds)", func() error {
		return gateway.Build(ctx, options.Template, options.BuildDir, os.Stdout)
	})
	if err != nil {
		if stack.Interrupted(ctx) {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return gateway.Start(ctx, options)
}

type demoCmd struct {
	Orders int    `help:"Number of orders to post." env:"ORDERS" default:"10"`
	APIURL string `name:"api-url" help:"URL of a running API, of make api or sam local start-api. The demo starts its own API if empty." env:"API_URL"`
}

func (c *demoCmd) Run(ctx context.Context, s *stack.Stack) error {
	state, err := s.Up(ctx)
	if err != nil {
		return err
	}
	// With the API of sam local too, because that does not run the function createshipment.
	functions, err := startAPI(ctx, s, state, gateway.Options{Addr: "127.0.0.1:0", Log: io.Discard})
	if err != nil {
		return err
	}
	defer functions.Close()
	err = demo.Run(ctx, demo.Options{
		API: cmp.Or(c.APIURL, functions.URL()), DatabaseURL: state.Ports.DatabaseURL(),
		Endpoint: state.Ports.Endpoint(), QueueURL: state.Outputs.QueueUrl,
		ShipmentsQueueURL: state.Outputs.Shipments.QueueUrl, Orders: c.Orders, Timeout: time.Minute, Out: os.Stdout,
	})
	if err != nil {
		return err
	}
	fmt.Println("\nThe stack stays up: make api and make read-events use it, make localstack-down stops it.")
	return nil
}
