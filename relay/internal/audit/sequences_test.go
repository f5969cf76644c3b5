package audit_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
)

func TestSequencesHaveWhatWasAdded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, want := audit.NewSequences(), map[int64]bool{}
		for _, seq := range rapid.SliceOf(rapid.Int64Range(-20, 60)).Draw(t, "seqs") {
			s.Add(seq)
			want[seq] = true
		}
		for seq := int64(-21); seq <= 61; seq++ {
			if s.Has(seq) != want[seq] {
				t.Fatalf("%d: %v", seq, s.Has(seq))
			}
		}
		if floor := s.Floor(); floor != math.MinInt64 {
			t.Fatalf("the floor is %d", floor)
		}
	})
}

// TestSequencesForgetBelowTheirFloorOnly: Has is exact above the floor, in bounded memory.
func TestSequencesForgetBelowTheirFloorOnly(t *testing.T) {
	t.Parallel()
	s := audit.NewSequences()
	const last = 400_000
	for seq := int64(0); seq <= last; seq += 2 {
		s.Add(seq)
	}
	floor := s.Floor()
	if floor < 0 || floor > last-last/10 {
		t.Errorf("the floor is %d", floor)
	}
	for seq := floor + 1; seq <= last; seq++ {
		if s.Has(seq) != (seq%2 == 0) {
			t.Fatalf("%d: %v", seq, s.Has(seq))
		}
	}
}

func BenchmarkSequences(b *testing.B) {
	s := audit.NewSequences()
	for i := range b.N {
		s.Add(int64(i ^ 3)) // slightly out of order
	}
}
