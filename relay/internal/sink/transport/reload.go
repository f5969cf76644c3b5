package transport

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// reloadInterval is the shortest time between two readings of the credentials. A key that stays
// refused must not make each request read files, run a command or call STS.
const reloadInterval = 10 * time.Second

// reloadedCredentials read their source again after a service refused them. The SDK reads a file
// once, and keeps the session of a role until it expires. So a rotated key and a revoked session
// would be used, and refused, until the process ends.
type reloadedCredentials struct {
	// load reads the environment and the files that it names.
	load    func(context.Context) (aws.CredentialsProvider, error)
	log     logging.Logger
	current atomic.Pointer[aws.CredentialsProvider]
	refused atomic.Bool

	mu         sync.Mutex
	reloadedAt time.Time
}

func newReloadedCredentials(
	first aws.CredentialsProvider, log logging.Logger, load func(context.Context) (aws.CredentialsProvider, error),
) *reloadedCredentials {
	r := &reloadedCredentials{load: load, log: log}
	r.current.Store(&first)
	return r
}

// Retrieve implements [aws.CredentialsProvider].
func (r *reloadedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if r.isDue() {
		r.reload(ctx)
	}
	return (*r.current.Load()).Retrieve(ctx)
}

// Invalidate makes a later Retrieve read the source again.
func (r *reloadedCredentials) Invalidate() { r.refused.Store(true) }

// IsCredentialsProvider makes anonymous credentials visible to the SDK through r.
func (r *reloadedCredentials) IsCredentialsProvider(target aws.CredentialsProvider) bool {
	return aws.IsCredentialsProvider(*r.current.Load(), target)
}

// isDue reports whether the caller has to reload. It does so to one of several callers, and the
// others continue with the current credentials. Those may still be valid: a refusal can concern the
// permissions for one destination.
func (r *reloadedCredentials) isDue() bool {
	if !r.refused.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.reloadedAt) < reloadInterval || !r.refused.Swap(false) {
		return false
	}
	r.reloadedAt = time.Now()
	return true
}

// reload keeps the current credentials if it gets no others, for the same reason.
func (r *reloadedCredentials) reload(ctx context.Context) {
	next, err := r.load(ctx)
	if err == nil {
		_, err = next.Retrieve(ctx)
	}
	if err != nil {
		r.log.Logf(logging.Warn, "the credentials were refused, and reading them again did not succeed: %v", err)
		return
	}
	r.current.Store(&next)
}

// reloadAfterRefusals makes every client of the SDK report a refusal of its credentials to r.
func reloadAfterRefusals(r *reloadedCredentials) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("ReloadCredentials", func(
			ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
		) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleDeserialize(ctx, in)
			invalidateRefused(r, err)
			return out, metadata, err
		}), middleware.Before)
	}
}

// invalidateRefused makes the next request fetch credentials again if err, the answer to a request,
// refuses those of the last one. A cache alone goes by the promised time and by this machine's
// clock.
func invalidateRefused(credentials aws.CredentialsProvider, err error) {
	cache, isCached := credentials.(interface{ Invalidate() })
	if isCached && sink.MayRefuseSigner(codeOf(err)) {
		cache.Invalidate()
	}
}

// codeOf returns the code of an answer that fails a request, or an empty text.
func codeOf(err error) string {
	if failure, ok := errors.AsType[*sink.Error](err); ok && failure.Origin == sink.OriginRequest {
		return failure.Code
	}
	if said, ok := errors.AsType[smithy.APIError](err); ok {
		return said.ErrorCode()
	}
	return ""
}
