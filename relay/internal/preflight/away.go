package preflight

import (
	"errors"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// OnlyAway reports whether everything in err, which [errors.Join] has put together, is that somebody does not answer, or
// answers that it cannot at the moment: waiting may mend it. An answer that says no is for a person.
func OnlyAway(err error) bool {
	if all, joined := err.(interface{ Unwrap() []error }); joined {
		return !slices.ContainsFunc(all.Unwrap(), func(err error) bool { return !OnlyAway(err) })
	}
	return isAway(err)
}

func isAway(err error) bool {
	var refused *pgconn.PgError
	var answer interface{ HTTPStatusCode() int }
	var api interface{ ErrorCode() string }
	var credentials *CredentialsError
	switch {
	case errors.As(err, &refused):
		return postgres.IsAway(refused)
	case errors.As(err, &answer) && (answer.HTTPStatusCode() >= 500 || answer.HTTPStatusCode() == http.StatusTooManyRequests):
		return true
	case errors.As(err, &api):
		_, throttled := retry.DefaultThrottleErrorCodes[api.ErrorCode()]
		return throttled
	case errors.As(err, &credentials):
		return true
	}
	return postgres.IsAway(err) // silence is the same everywhere
}
