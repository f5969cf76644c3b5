package outbox_test

import (
	"math"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestCommonSeqsOfTwoTablesDiffer(t *testing.T) {
	t.Parallel()
	const edge = 1 << 46
	last := &outbox.Source{Number: outbox.MaxSources - 1}
	before := int64(math.MinInt64)
	for _, source := range []*outbox.Source{{Number: 0}, {Number: 1}, last} {
		for _, seq := range []int64{-edge, -1, 0, 1, edge - 1} {
			common, err := source.Common(seq)
			if err != nil || common <= before || common == math.MaxInt64 {
				t.Errorf("seq %d of table %d is %d after %d: %v", seq, source.Number, common, before, err)
			}
			if own := source.Own(common); own != seq {
				t.Errorf("seq %d of table %d comes back as %d", seq, source.Number, own)
			}
			before = common
		}
	}
	for _, seq := range []int64{-edge - 1, edge, math.MinInt64, math.MaxInt64} {
		if _, err := last.Common(seq); err == nil {
			t.Errorf("seq %d has a common seq", seq)
		}
	}
}

func TestOwnSeqOfAnotherTableIsAtAnEnd(t *testing.T) {
	t.Parallel()
	first, second := &outbox.Source{Number: 0}, &outbox.Source{Number: 1}
	common, _ := second.Common(7)
	if own := first.Own(common); own != math.MaxInt64 {
		t.Errorf("in the table before it is %d", own)
	}
	common, _ = first.Common(7)
	if own := second.Own(common); own != math.MinInt64 {
		t.Errorf("in the table behind it is %d", own)
	}
	for _, end := range []int64{math.MinInt64, math.MaxInt64} {
		if own := second.Own(end); own != end {
			t.Errorf("%d is %d", end, own)
		}
	}
	if _, err := (&outbox.Source{Number: outbox.NoNumber}).Common(1); err == nil {
		t.Error("a row of a table that is gone has a common seq")
	}
	var one *outbox.Source
	if common, err := one.Common(math.MinInt64); err != nil || one.Own(common) != math.MinInt64 {
		t.Error("a single table has other common seqs")
	}
}
