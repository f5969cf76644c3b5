// Package preflight checks before a relay starts that it can run and which of its promises hold:
// one function a requirement, all findings at once, each with the statement that cures it.
package preflight

import (
	"context"
	"time"
)

const (
	// limit bounds the check of one requirement, so that a peer that hangs does not hide the
	// findings about the others.
	limit = 10 * time.Second
	// patience is the time after which an operator wants to know which peer the check waits for.
	patience = 2 * time.Second
)

// Progress is told how the checks proceed. Either function may be nil.
type Progress struct {
	Found   func(Finding)        // as soon as the finding is known
	Waiting func(subject string) // once the check of a requirement takes long
}

// Requirement is one thing that a relay needs.
type Requirement struct {
	Subject string // the peer or object that is asked
	Check   func(context.Context) Findings
}

// Run checks the requirement within its limit of time.
func (r Requirement) Run(ctx context.Context, progress Progress) Findings {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if progress.Waiting != nil {
		slow := time.AfterFunc(patience, func() { progress.Waiting(r.Subject) })
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
