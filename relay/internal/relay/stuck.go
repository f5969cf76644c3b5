package relay

import (
	"errors"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// stuckAfter is the number of sessions that end alike and deliver nothing, after which a definite
// answer of the database is final. A single one may come from a change in progress.
const stuckAfter = 5

// stuck distinguishes a fault that every session meets from one that passes.
type stuck struct {
	code     string
	sessions int
}

// ended receives the error of a session, and whether the session delivered an event. It adds the
// remedy to an error of the database. An error about a column that differs from the settings stays
// as it is until stuckAfter sessions have ended with it and delivered nothing. Only an operator can
// then fix the cause, and the result is a [*operator.NeededError].
func (s *stuck) ended(err error, delivered bool) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		s.sessions = 0
		return err
	}
	if s.code != refused.Code || delivered {
		s.code, s.sessions = refused.Code, 0
	}
	switch {
	case !postgres.IsSettingError(err):
		return postgres.WithRemedy(err)
	case errors.Is(err, replication.ErrUndecodable): // not of a column: see blocked
		return err
	}
	if s.sessions++; s.sessions < stuckAfter {
		return err
	}
	return operator.Needed("%v. The last %d attempts ended with this error, so another retry will not help: relay "+
		"check names each column that differs from the settings. If a recovery or a first start with "+
		"RELAY_START=since requires the column, relay recover --cancel --yes withdraws it", err, s.sessions)
}

// blocked counts the sessions that began at one position and ended because the server cannot decode
// the log.
type blocked struct {
	from     pglogrepl.LSN
	sessions int
}

// ended receives the error of a session that began at from. Once stuckAfter sessions have ended
// alike, it returns the server's error: the next session would meet the same log. Such a session
// can deliver events, whose position it cannot save.
func (b *blocked) ended(err error, from pglogrepl.LSN) error {
	var refused *pgconn.PgError
	if !errors.Is(err, replication.ErrUndecodable) || !errors.As(err, &refused) {
		*b = blocked{}
		return nil
	}
	if b.from != from {
		*b = blocked{from: from}
	}
	if b.sessions++; b.sessions < stuckAfter {
		return nil
	}
	return refused
}
