package gateway

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// errIntegrationTimeout says that the request had to wait longer than API Gateway does.
var errIntegrationTimeout = errors.New("endpoint request timed out")

// pool is the execution environments of one function.
type pool struct {
	environments []*environment
	idle         chan *environment
}

func newPool(f function, options Options, log *namedLog) *pool {
	p := &pool{idle: make(chan *environment, options.Concurrency)}
	for range options.Concurrency {
		e := newEnvironment(f, options.bootstrap(f.name), options.Env, log)
		p.environments = append(p.environments, e)
		p.idle <- e
	}
	return p
}

// run keeps the processes running until ctx is done.
func (p *pool) run(ctx context.Context) error {
	running, ctx := errgroup.WithContext(ctx)
	for _, e := range p.environments {
		running.Go(func() error { return e.run(ctx) })
	}
	return running.Wait()
}

// awaitReady returns once every process asked for its first invocation, or with the reason why one does not.
func (p *pool) awaitReady(ctx context.Context) error {
	for _, e := range p.environments {
		select {
		case err := <-e.ready:
			if err != nil {
				return fmt.Errorf("start %s: %w", e.function.name, err)
			}
		case <-ctx.Done():
			return fmt.Errorf("start %s: not ready within %s: %w", e.function.name, initTimeout, ctx.Err())
		}
	}
	return nil
}

// invoke returns the function's answer, errIntegrationTimeout, or why there is no answer.
func (p *pool) invoke(ctx context.Context, i *invocation) ([]byte, error) {
	select {
	case e := <-p.idle:
		// An environment whose process still works on an invocation that nobody waits for takes the next one after it.
		defer func() { p.idle <- e }()
		return e.invoke(ctx, i)
	case <-ctx.Done():
		return nil, errIntegrationTimeout
	}
}

// lambdaEnv is what Lambda sets for a function.
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
func lambdaEnv(f function, runtimeAPI, taskRoot string) map[string]string {
	return map[string]string{
		"AWS_LAMBDA_RUNTIME_API":          runtimeAPI,
		"AWS_LAMBDA_FUNCTION_NAME":        f.name,
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": fmt.Sprint(f.memory),
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_EXECUTION_ENV":               "AWS_Lambda_provided." + runtime.GOOS,
		"AWS_REGION":                      "us-east-1",
		"AWS_DEFAULT_REGION":              "us-east-1",
		"LAMBDA_TASK_ROOT":                taskRoot,
		"_HANDLER":                        "bootstrap",
		"TZ":                              ":UTC",
	}
}
