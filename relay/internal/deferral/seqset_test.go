package deferral

import (
	"math/rand/v2"
	"testing"
)

func TestSeqSetHasWhatWasAdded(t *testing.T) {
	t.Parallel()
	var s seqSet
	model := map[int64]bool{}
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		seq := random.Int64N(20_000) - 10_000
		if random.IntN(2) == 0 {
			s.add(seq)
			model[seq] = true
		} else {
			s.remove(seq)
			delete(model, seq)
		}
		if s.size != int64(len(model)) {
			t.Fatalf("%d seqs, want %d", s.size, len(model))
		}
	}
	for seq := range model {
		s.remove(seq)
	}
	if s.size != 0 || len(s.blocks) != 0 {
		t.Errorf("%d seqs and %d blocks are left", s.size, len(s.blocks))
	}
}

func TestSeqSetIsBounded(t *testing.T) {
	t.Parallel()
	var s seqSet
	for i := range int64(2 * maxBlocksOfOne) {
		s.add(i * blockBits)
	}
	if len(s.blocks) != maxBlocksOfOne || s.size != maxBlocksOfOne {
		t.Errorf("%d blocks, %d seqs", len(s.blocks), s.size)
	}
}
