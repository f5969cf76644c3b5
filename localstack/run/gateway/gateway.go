// Package gateway serves the functions of a SAM template without a container engine. It implements
// API Gateway (REST, payload version 1), event source mappings of SQS, and the Lambda Runtime API
// in front of an unmodified bootstrap binary. `sam local start-api` would need Docker and an image
// for each function, and it reads no queue.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/sync/errgroup"
)

const (
	// defaultIntegrationTimeout is the time that API Gateway waits for a function.
	// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
	defaultIntegrationTimeout = 29 * time.Second
	// initTimeout is the time that Lambda allows for the start of a process.
	// https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
	initTimeout = 10 * time.Second
)

// Options configure a [Gateway].
type Options struct {
	Addr     string // host:port to listen on; port 0 chooses a free one
	Template string // the SAM template with functions, routes, timeouts and environment
	// has <logical id>/bootstrap of every function, the layout of `sam build` and [Build]
	BuildDir string

	// Env is added to the environment of every function and overrides the template.
	Env map[string]string
	// Queues are the ARNs of the queues of event source mappings, by the attribute in !GetAtt.
	// A function without a route and without such a queue does not run.
	Queues map[string]string
	Broker aws.Config // of these queues
	// Concurrency is the number of processes, and thus of concurrent requests, of each function.
	// The default is 1.
	Concurrency int
	// IntegrationTimeout is the maximum duration of a request. The default is 29 s.
	IntegrationTimeout time.Duration
	// Log receives a line for each request, and the output of all functions. The default discards
	// it.
	Log io.Writer
}

// Gateway is a running API. See [Start].
type Gateway struct {
	listener net.Listener
	cancel   context.CancelFunc
	running  *errgroup.Group
}

// Start starts every function with a route in the template, and waits until their processes are
// ready for requests. It serves until ctx is done or [Gateway.Close] is called. Call Close in
// either case.
func Start(ctx context.Context, options Options) (*Gateway, error) {
	options = options.withDefaults()
	functions, err := readTemplate(options.Template)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", options.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; choose another address", options.Addr, err)
	}

	ctx, cancel := context.WithCancel(ctx)
	running, ctx := errgroup.WithContext(ctx)
	environments, stopEnvironments := context.WithCancel(context.WithoutCancel(ctx))
	log := newLineLog(options.Log)
	handler := &handler{timeout: options.IntegrationTimeout, log: log.named("gateway")}
	gateway := &Gateway{listener: listener, cancel: cancel, running: running}

	var pools []*pool
	var pollers []*poller
	for _, f := range functions {
		queues := options.queuesOf(f)
		if len(f.routes)+len(queues) == 0 {
			continue
		}
		p := newPool(f, options, log.named(f.name))
		pools = append(pools, p)
		handler.routes.add(f.routes, p)
		for _, m := range queues {
			pollers = append(pollers, newPollers(m, f, p, options, log.named("poller"))...)
		}
		running.Go(func() error { return p.run(environments) })
	}
	running.Go(func() error {
		defer stopEnvironments() // requests and batches in flight need the environments
		return serveAndPoll(ctx, newServer(handler), listener, pollers)
	})

	if err := awaitReady(ctx, pools); err != nil {
		return nil, errors.Join(err, gateway.Close())
	}
	return gateway, nil
}

func (o Options) withDefaults() Options {
	o.Concurrency = max(o.Concurrency, 1)
	if o.IntegrationTimeout == 0 {
		o.IntegrationTimeout = defaultIntegrationTimeout
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	return o
}

// queuesOf returns the event source mappings of a function whose queue is known.
func (o Options) queuesOf(f function) (known []mapping) {
	for _, m := range f.mappings {
		if o.Queues[m.source] != "" {
			known = append(known, m)
		}
	}
	return known
}

func (o Options) bootstrap(function string) string {
	return filepath.Join(o.BuildDir, function, "bootstrap")
}

func awaitReady(ctx context.Context, pools []*pool) error {
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	var problems []error
	for _, p := range pools {
		problems = append(problems, p.awaitReady(ctx))
	}
	return errors.Join(problems...)
}

// URL returns the URL of the API without a trailing slash.
func (g *Gateway) URL() string {
	return "http://" + g.listener.Addr().String()
}

// Close finishes the requests in flight, ends the processes of the functions and waits for both.
func (g *Gateway) Close() error {
	g.cancel()
	return g.running.Wait()
}
