package preflight

import (
	"errors"
	"net/http"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// OnlyTransient reports whether every error that [errors.Join] joined in err is transient: the peer
// is unreachable, overloaded or still starting, so that a retry may succeed. A definite refusal
// needs an operator.
func OnlyTransient(err error) bool {
	if all, joined := err.(interface{ Unwrap() []error }); joined {
		return !slices.ContainsFunc(all.Unwrap(), func(err error) bool { return !OnlyTransient(err) })
	}
	return isTransient(err)
}

func isTransient(err error) bool {
	var refused *pgconn.PgError
	var answer interface{ HTTPStatusCode() int }
	var api interface{ ErrorCode() string }
	var credentials *CredentialsError
	var synchronous *replication.SynchronousError
	var mixedUp *sink.MixedUpError
	switch {
	case errors.As(err, &refused):
		return postgres.IsTransient(refused)
	case errors.As(err, &answer) &&
		(answer.HTTPStatusCode() >= 500 || answer.HTTPStatusCode() == http.StatusTooManyRequests):
		return true
	case errors.As(err, &api):
		return sink.IsThrottleCode(api.ErrorCode())
	case errors.As(err, &credentials), errors.As(err, &synchronous), errors.As(err, &mixedUp):
		return true
	}
	return postgres.IsTransient(err) // an unreachable peer gives the same errors everywhere
}
