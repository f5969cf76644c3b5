package gateway

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// errIntegrationTimeout reports that a request exceeded the timeout of API Gateway.
var errIntegrationTimeout = errors.New("endpoint request timed out")

// pool has the execution environments of one function.
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

// run restarts the processes until ctx is done.
func (p *pool) run(ctx context.Context) error {
	running, ctx := errgroup.WithContext(ctx)
	for _, e := range p.environments {
		running.Go(func() error { return e.run(ctx) })
	}
	return running.Wait()
}

// awaitReady returns nil once every process has requested its first invocation, or the reason why
// one has not.
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

// invoke returns the function's answer, errIntegrationTimeout, or the reason why there is no
// answer.
func (p *pool) invoke(ctx context.Context, i *invocation) ([]byte, error) {
	select {
	case e := <-p.idle:
		// If the caller has given up, the process may still work on its invocation. The environment
		// then runs the next one after it.
		defer func() { p.idle <- e }()
		return e.invoke(ctx, i)
	case <-ctx.Done():
		return nil, errIntegrationTimeout
	}
}

// lambdaEnv returns the environment variables that Lambda sets for a function.
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
