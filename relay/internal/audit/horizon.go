package audit

import (
	"errors"

	"github.com/jackc/pglogrepl"
)

// ErrPublicationChanged means that producers may have written rows that the publication did not
// stream at that time.
var ErrPublicationChanged = errors.New("the publication was changed while the relay was streaming")

// Suspicion is a publication that was written while the relay ran, and that still streams every
// row. It may have been changed and changed back, and rows written in between may be missing from
// the stream. Only the table shows whether they are.
type Suspicion struct {
	Fingerprint string // of the current publication
	Next        uint64 // the first transaction id that was not assigned when the relay saw the publication
}

func (s Suspicion) IsOpen() bool { return s.Fingerprint != "" }

// Horizon is a snapshot with a log position. The stream brings everything that the snapshot shows
// before that position.
type Horizon struct {
	Snapshot  string
	LSN       pglogrepl.LSN
	Delivered uint64 // events delivered when it was observed
	Suspicion Suspicion
}

// Expect sets the horizon to audit next.
func (a *Auditor) Expect(h Horizon) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expected = h
}

// Agrees reports whether the stream brought every row of the table up to the horizon.
func (a *Auditor) Agrees(h Horizon) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.off || a.agreed == h
}

// due returns the horizon to audit, if there is one.
func (a *Auditor) due() (Horizon, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.expected, a.expected != a.agreed
}

func (a *Auditor) agree(h Horizon) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.agreed = h
}

// agreedWith returns the last horizon of this session up to which no row is missing.
func (a *Auditor) agreedWith() Horizon {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.agreed
}

// HasAgreed reports whether the Auditor compares rows, and has a horizon from which it can compare.
func (a *Auditor) HasAgreed() bool { return !a.isOff() && a.agreedWith() != Horizon{} }
