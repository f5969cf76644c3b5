package pgsnapshot

import "testing"

func TestCoversIsTheSubsetOfVisibleOnes(t *testing.T) {
	t.Parallel()
	texts := []string{"3:3:", "5:5:", "5:8:5", "5:8:5,7", "7:8:7", "8:8:", "9:12:9,11"}
	parsed := make([]Snapshot, len(texts))
	for i, text := range texts {
		var err error
		if parsed[i], err = Parse(text); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range parsed {
		for j, other := range parsed {
			covers := true
			for xid := range uint64(20) {
				covers = covers && (s.Visible(xid) || !other.Visible(xid))
			}
			if s.Covers(other) != covers {
				t.Errorf("%s covers %s: %v", texts[i], texts[j], !covers)
			}
		}
	}
}
