package tour

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestEachStepShowsItsReaction(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	binary, err := chaos.BuildRelay(ctx, "../../..", filepath.Join(t.TempDir(), "relay"))
	if err != nil {
		t.Fatal(err)
	}
	err = Run(ctx, Options{
		Dir: filepath.Join(t.TempDir(), "tour"), Relay: binary, Ports: [2]int{freePort(t), freePort(t)},
		Out: t.Output(),
	})
	if err != nil {
		t.Error(err)
	}
}

func TestTheVerdictNamesABrokenPromise(t *testing.T) {
	t.Parallel()
	event := func(number string) fakeaws.Receipt {
		return fakeaws.Receipt{Message: &fakeaws.Message{
			Body: `{"number":` + number + `}`,
			Attributes: []fakeaws.Attribute{
				{Name: outbox.AttributeEventID, StringValue: number},
				{Name: outbox.AttributeEventType, StringValue: "order.changed"},
				{Name: outbox.AttributeAggregateID, StringValue: "a"},
			},
		}}
	}
	for name, c := range map[string]struct {
		arrive  []string
		written int
		broken  bool
		left    int
	}{
		"in order, one twice":   {[]string{"1", "2", "1", "3"}, 3, false, 0},
		"one is missing":        {[]string{"1", "2"}, 3, false, 1},
		"out of order":          {[]string{"1", "3", "2"}, 3, true, 1},
		"one was never written": {[]string{"1", "2"}, 1, true, 0},
		"not as written":        {[]string{"1", "?"}, 1, true, 0},
	} {
		l := newLoad()
		l.written["a"] = c.written
		for _, number := range c.arrive {
			l.accept("", event(number))
		}
		if _, _, err := l.verdict(); (err != nil) != c.broken {
			t.Errorf("%s: verdict %v", name, err)
		}
		if left := l.undelivered(nil); left != c.left {
			t.Errorf("%s: %d undelivered events, want %d", name, left, c.left)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := procgroup.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
