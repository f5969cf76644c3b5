package sink

import (
	"fmt"
	"slices"
)

// entryIDs are the Ids of the entries of a request: the position in the batch.
var entryIDs = [MaxBatch]string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}

// EntryID returns the Id under which the message at position i of a batch is sent.
func EntryID(i int) string { return entryIDs[i] }

// Answer collects what a broker's answer says about each entry of a request, and believes only an answer that fits the
// request: an entry counts as durable when its Id was named exactly once, as successful.
type Answer struct {
	results []Result // of space
	space   [MaxBatch]Result
	named   [MaxBatch]int
	unknown bool // an Id was named that was not sent: the answer belongs to another request
}

// NewAnswer returns the answer to a request of so many entries, in which none is named yet.
func NewAnswer(entries int) *Answer {
	a := new(Answer)
	a.results = a.space[:entries]
	return a
}

// Position returns the position in the batch of the message that was sent as id, or -1 if none was.
func (a *Answer) Position(id string) int { return slices.Index(entryIDs[:len(a.results)], id) }

// Set stores the outcome of the entry id; a nil err means accepted.
func (a *Answer) Set(id string, err error) {
	i := a.Position(id)
	if i < 0 {
		a.unknown = true
		return
	}
	a.results[i].Err = err
	a.named[i]++
}

// Results returns a result for each entry, in the order of the request.
func (a *Answer) Results() ([]Result, error) {
	if a.unknown {
		return nil, &BrokerError{Code: "UnknownEntry", Reason: "the answer names an entry that was not sent"}
	}
	for i := range a.results {
		if n := a.named[i]; n != 1 {
			a.results[i].Err = &BrokerError{Code: "UnknownOutcome", Reason: fmt.Sprintf("the answer names the entry %d times", n)}
		}
	}
	return a.results, nil
}
