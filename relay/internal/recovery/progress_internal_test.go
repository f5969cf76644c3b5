package recovery

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// A relay that is stopped while it waits for the next page continues behind the page before.
func TestAPageCountsBeforeTheNextIsRead(t *testing.T) {
	t.Parallel()
	stopped := errors.New("stopped")
	var recovered []int64
	whole := wholeSeqs{recovered: func(seq int64) { recovered = append(recovered, seq) }}
	before := whole.beforePage(func(context.Context) error { return stopped })
	for _, seq := range []int64{1, 2, 2} {
		whole.next(seq)
	}
	if err := before(t.Context()); !errors.Is(err, stopped) || !slices.Equal(recovered, []int64{1, 2}) {
		t.Errorf("recovered up to %v, %v, want 1 and 2", recovered, err)
	}
}
