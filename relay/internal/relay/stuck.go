package relay

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// stuckAfter is after how many sessions that end alike, and deliver nothing, the relay takes a
// definite answer of the database for final. A single one may come from a change that is under way.
const stuckAfter = 5

// stuck tells a loop of sessions from a fault that passes.
type stuck struct {
	code     string
	sessions int
}

// ended takes how a session ended, and whether it delivered anything. It returns the error with
// its cure, which is a [*operator.NeededError] once only an operator can end the loop.
func (s *stuck) ended(err error, delivered bool) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		s.sessions = 0
		return err
	}
	if s.code != refused.Code || delivered {
		s.code, s.sessions = refused.Code, 0
	}
	if !postgres.IsSettingError(err) {
		return postgres.WithCure(err)
	}
	if s.sessions++; s.sessions < stuckAfter {
		return err
	}
	return operator.Needed("%v. The last %d attempts ended so, and no retry cures it: relay check names each column that is not as the settings have it. "+
		"If what asks for it is a recovery or a first start from a moment, relay recover --cancel --yes withdraws that", err, s.sessions)
}
