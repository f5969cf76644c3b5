package sink_test

import (
	"regexp"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// TestAnswerOfAnotherRequestConfirmsNothing: the answer to another request, which a connection or a
// proxy confused, names the entries of that one, at the same positions.
func TestAnswerOfAnotherRequestConfirmsNothing(t *testing.T) {
	t.Parallel()
	mine, other := sink.NewRequestID(), sink.NewRequestID()
	answer := sink.NewAnswer(mine, 2)
	answer.Set(mine.Entry(0), nil)
	answer.Set(other.Entry(1), nil)
	if results, err := answer.Results(); err == nil || sink.Code(err) != "UnknownEntry" {
		t.Errorf("%v, %v, want an error of the whole request", results, err)
	}
	for _, id := range []string{
		"", "0", mine.Entry(2), mine.Entry(0) + "0", mine.Entry(0)[:17], mine.Entry(-1),
		mine.Entry(0)[:17] + "x",
	} {
		if i := answer.Position(id); i >= 0 {
			t.Errorf("%q was sent at position %d", id, i)
		}
	}
}

// TestEntryIDsAreWhatBothServicesTake: 1 to 80 letters, digits, hyphens and underscores, different
// in each request.
func TestEntryIDsAreWhatBothServicesTake(t *testing.T) {
	t.Parallel()
	valid, seen := regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`), map[string]bool{}
	for range 1000 {
		id := sink.NewRequestID()
		for i := range sink.MaxBatch {
			entry := id.Entry(i)
			if !valid.MatchString(entry) || seen[entry] {
				t.Fatalf("entry id %q, seen before: %t", entry, seen[entry])
			}
			seen[entry] = true
		}
	}
}
