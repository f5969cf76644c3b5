// Package preflight checks before the start that a relay can run, and which guarantees it keeps.
// Each requirement is one function. All findings are reported together, each with the statement
// that fixes it.
package preflight

import (
	"context"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/control"
)

const (
	// limit bounds the check of one requirement, so that a peer that does not answer hides no other
	// finding.
	limit = 10 * time.Second
	// patience is the time after which the check reports which peer it waits for.
	patience = control.NoticeAfter
)

// Progress receives the progress of the checks. Either function may be nil.
type Progress struct {
	Found   func(Finding)   // called as soon as a finding is known
	Waiting control.Waiting // called once the check of a requirement takes long
}

// Requirement is one requirement of a relay.
type Requirement struct {
	Subject string // the peer or object to check
	Check   func(context.Context) Findings
}

// Run checks the requirement within limit.
func (r Requirement) Run(ctx context.Context, progress Progress) Findings {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if progress.Waiting != nil {
		slow := time.AfterFunc(patience, func() { progress.Waiting(r.Subject, limit) })
		defer slow.Stop()
	}
	found := r.Check(ctx)
	if progress.Found != nil {
		for _, finding := range found {
			progress.Found(finding)
		}
	}
	return found
}
