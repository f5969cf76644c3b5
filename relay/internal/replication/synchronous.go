package replication

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// SynchronousError means that synchronous_standby_names matches the relay. Every commit of the
// cluster could then wait for the relay's confirmation. The relay confirms after it has committed
// its checkpoint, and that commit would wait too.
type SynchronousError struct {
	Setting     string // synchronous_standby_names
	Application string // application_name of the relay's walsender
}

func (e *SynchronousError) Error() string {
	return fmt.Sprintf("synchronous_standby_names = '%s' makes the relay, whose application_name is %q, a "+
		"synchronous standby, and commits would wait for it. The relay does not stream until that is changed: name "+
		"your standbys, as in ALTER SYSTEM SET synchronous_standby_names = 'standby_1, standby_2' and SELECT "+
		"pg_reload_conf() ('*' also matches the relay)", e.Setting, e.Application)
}

// maxApplicationName is NAMEDATALEN - 1.
const maxApplicationName = 63

// ApplicationName returns the application_name of the walsender of a slot, truncated as in
// Postgres.
func ApplicationName(slot string) string {
	name := "outbox-relay " + slot
	return name[:min(len(name), maxApplicationName)]
}

// CheckSynchronous returns a [*SynchronousError] if this value of synchronous_standby_names matches
// the walsender of the slot. Every matching name counts, at any place in the list: a potential
// standby becomes synchronous when the standbys before it are gone.
func CheckSynchronous(setting, slot string) error {
	application := ApplicationName(slot)
	for _, name := range standbyNames(setting) {
		if name == "*" || strings.EqualFold(name, application) { // Postgres ignores case too
			return &SynchronousError{Setting: setting, Application: application}
		}
	}
	return nil
}

// requireAsynchronous asks the walsender itself just before the start, because the walsender's own
// value of the setting is decisive.
func (s *Stream) requireAsynchronous(ctx context.Context) error {
	// The first statement resets the setting of CreateSlot. It also keeps the server from parsing
	// SHOW as a replication command.
	results, err := s.conn.Exec(ctx, "SET lock_timeout = 0; SHOW synchronous_standby_names").ReadAll()
	if err != nil {
		return fmt.Errorf("read synchronous_standby_names: %w", err)
	}
	if len(results) == 0 {
		return errors.New("read synchronous_standby_names: the server gave no answer")
	}
	last := results[len(results)-1]
	if len(last.Rows) != 1 || len(last.Rows[0]) != 1 {
		return errors.New("read synchronous_standby_names: the server gave no value")
	}
	return CheckSynchronous(string(last.Rows[0][0]), s.config.Slot)
}

// standbyToken matches a quoted name, a name, a number, a star or a punctuation mark of
// synchronous_standby_names.
// https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-SYNCHRONOUS-STANDBY-NAMES
var standbyToken = regexp.MustCompile(`"(?:[^"]|"")*"|[^\s,()"*]+|[*(),]`)

// standbyNames returns the names in a value that the server has accepted. With parentheses, these
// are the names inside. FIRST or ANY and a number precede the parentheses.
func standbyNames(setting string) []string {
	tokens := standbyToken.FindAllString(setting, -1)
	var names []string
	for _, token := range tokens {
		switch {
		case token == "(":
			names = nil
		case token == "," || token == ")":
		case token[0] == '"':
			names = append(names, strings.ReplaceAll(token[1:len(token)-1], `""`, `"`))
		default:
			names = append(names, token)
		}
	}
	return names
}
