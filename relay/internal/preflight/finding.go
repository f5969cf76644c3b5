package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Code names a kind of finding. Scripts may compare it, because a code never changes its meaning.
type Code string

// Level is the consequence of a finding for a relay.
type Level string

const (
	OK       Level = "ok"       // the requirement is met
	Degraded Level = "degraded" // the relay runs, and does not keep one of its guarantees
	Error    Level = "error"    // the relay does not start
)

// Finding is the result of checking one requirement on one object.
type Finding struct {
	Code   Code   `json:"code"`
	Level  Level  `json:"level"`
	Object string `json:"object"` // as in "table public.outbox_events"
	// Explanation can be read without the other fields: it names the object and the reason.
	Explanation string `json:"explanation"`
	// Statement is SQL to paste, a shell command or a setting; it may be empty.
	Statement string `json:"statement,omitempty"`

	cause error // of a requirement that could not be checked; it may be transient
}

// Err returns the finding as an error, or nil unless its level is [Error]. [OnlyTransient] inspects
// such errors.
func (f Finding) Err() error {
	if f.Level != Error {
		return nil
	}
	return &findingError{f}
}

// String returns the explanation and the statement in one line.
func (f Finding) String() string {
	if f.Statement == "" {
		return f.Explanation
	}
	return f.Explanation + ": " + f.Statement
}

// Lines returns the statements of the finding, which are run one by one: a statement with
// CONCURRENTLY must not share a transaction with another one. Semicolons inside quotes and $$ end
// no statement.
func (f Finding) Lines() []string {
	var lines []string
	var quote byte // open; '$' is that of $$
	from := 0
	for i := 0; i < len(f.Statement); i++ {
		switch c := f.Statement[i]; {
		case strings.HasPrefix(f.Statement[i:], "$$") && (quote == 0 || quote == '$'):
			quote ^= '$'
			i++
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == c && c != '$':
			quote = 0
		case quote == 0 && strings.HasPrefix(f.Statement[i:], "; "):
			lines = append(lines, f.Statement[from:i+1])
			from = i + 2
		}
	}
	if from < len(f.Statement) {
		lines = append(lines, f.Statement[from:])
	}
	return lines
}

type findingError struct{ Finding }

func (e *findingError) Error() string { return e.String() }

func (e *findingError) Unwrap() error { return e.cause }

// Findings are results in the order in which the requirements were checked.
type Findings []Finding

// Err returns the findings of level [Error], joined, or nil if there are none.
func (f Findings) Err() error {
	var problems []error
	for _, finding := range f {
		problems = append(problems, finding.Err())
	}
	return errors.Join(problems...)
}

// Of returns the findings of this level.
func (f Findings) Of(level Level) Findings {
	return slices.DeleteFunc(slices.Clone(f), func(finding Finding) bool { return finding.Level != level })
}

// Has reports whether there is a finding with this code and level.
func (f Findings) Has(code Code, level Level) bool {
	return slices.ContainsFunc(f, func(finding Finding) bool { return finding.Code == code && finding.Level == level })
}

// Level returns the worst level of the findings.
func (f Findings) Level() Level {
	for _, level := range []Level{Error, Degraded} {
		if len(f.Of(level)) > 0 {
			return level
		}
	}
	return OK
}

// FromError returns a finding of level [Error] for err.
func FromError(code Code, object string, err error) Finding {
	return Finding{Code: code, Level: Error, Object: object, Explanation: err.Error(), cause: err}
}

// FromErrors returns a finding for each error that [errors.Join] joined in err.
func FromErrors(code Code, object string, err error) Findings {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return Findings{FromError(code, object, err)}
	}
	var all Findings
	for _, one := range joined.Unwrap() {
		all = append(all, FromErrors(code, object, one)...)
	}
	return all
}

func passed(code Code, object, format string, args ...any) Finding {
	return Finding{Code: code, Level: OK, Object: object, Explanation: fmt.Sprintf(format, args...)}
}

func degraded(code Code, object, format string, args ...any) Finding {
	return Finding{Code: code, Level: Degraded, Object: object, Explanation: fmt.Sprintf(format, args...)}
}

func failed(code Code, object, format string, args ...any) Finding {
	return Finding{Code: code, Level: Error, Object: object, Explanation: fmt.Sprintf(format, args...)}
}

// unknown is the finding of a requirement that could not be checked.
func unknown(code Code, object string, err error) Finding {
	explanation := fmt.Sprintf("%s: %v", object, err)
	if errors.Is(err, context.DeadlineExceeded) {
		explanation = fmt.Sprintf("%s did not answer within %v: %v", object, limit, err)
	}
	return Finding{Code: code, Level: Error, Object: object, Explanation: explanation, cause: err}
}

// with returns the finding with the statement that fixes it.
func (f Finding) with(format string, args ...any) Finding {
	f.Statement = fmt.Sprintf(format, args...)
	return f
}

// because returns the finding with its cause, which may be transient.
func (f Finding) because(err error) Finding {
	f.cause = err
	return f
}
