// Package gateway serves the functions of a SAM template over HTTP without a container engine: what API Gateway (REST,
// payload version 1) and the Lambda Runtime API are to a function, in front of an unmodified bootstrap binary.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// defaultIntegrationTimeout is how long API Gateway waits for a function.
	// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
	defaultIntegrationTimeout = 29 * time.Second
	// initTimeout is how long Lambda lets a process start.
	// https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
	initTimeout = 10 * time.Second
)

// Options say what to serve and where.
type Options struct {
	Addr     string // host:port to listen on; port 0 takes a free one
	Template string // the SAM template: functions, routes, timeouts and environment are read from it
	BuildDir string // holds <logical id>/bootstrap of every function, as `sam build` and [Build] leave it

	// Env is added to the environment of every function; it wins over the template.
	Env map[string]string
	// Concurrency is how many processes run for each function, and so how many of its requests at once. Default 1.
	Concurrency int
	// IntegrationTimeout is how long a request may take in all. Default 29 s.
	IntegrationTimeout time.Duration
	// Log gets a line for each request, and everything that the functions print. Default: nowhere.
	Log io.Writer
}

// Gateway is a running API. See [Start].
type Gateway struct {
	listener net.Listener
	cancel   context.CancelFunc
	running  *errgroup.Group
}

// Start starts every function that the template gives a route, waits until their processes are ready for requests, and
// serves until ctx is done or [Gateway.Close] is called. Close must be called in either case.
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
	for _, f := range functions {
		p := newPool(f, options, log.named(f.name))
		pools = append(pools, p)
		handler.routes.add(f.routes, p)
		running.Go(func() error { return p.run(environments) })
	}
	running.Go(func() error {
		defer stopEnvironments() // the requests in flight need them to the last
		return serve(ctx, newServer(handler), listener)
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

// URL returns where the API is, without a slash at the end.
func (g *Gateway) URL() string {
	return "http://" + g.listener.Addr().String()
}

// Close answers the requests in flight, ends the functions' processes and waits for all of it.
func (g *Gateway) Close() error {
	g.cancel()
	return g.running.Wait()
}
