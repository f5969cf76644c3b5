package bench

import (
	"encoding/json"
	"testing"
)

// TestEachFaultOfALargeEventCounts: an event that is missing or too early, and an object that is
// missing or differs.
func TestEachFaultOfALargeEventCounts(t *testing.T) {
	t.Parallel()
	c := newComparison(map[int]int64{1: 10, 2: 20, 3: 15, 4: 20}, map[string]Object{
		"whole/1": {2, "aa"}, "other sum/1": {2, "bb"}, "other size/1": {1, "aa"},
	})
	for _, row := range []written{
		{"small", 1, "a", Object{}},
		{"whole", 2, "a", Object{2, "aa"}},
		{"other sum", 3, "a", Object{2, "aa"}}, // before its predecessor
		{"other size", 4, "b", Object{2, "aa"}},
		{"missing", 5, "c", Object{2, "aa"}},
	} {
		c.add(row)
	}
	if c.unordered != 2 || c.whole != 1 || c.small != 1 {
		t.Errorf("%d out of order, %d whole, %d small, want 2, 1 and 1", c.unordered, c.whole, c.small)
	}
}

func TestAnIncompressiblePayloadIsJSONOfItsSize(t *testing.T) {
	t.Parallel()
	if text := incompressible(largeBytes); len(text) != largeBytes || !json.Valid([]byte(text)) {
		t.Errorf("%d bytes, want %d of JSON", len(text), largeBytes)
	}
}
