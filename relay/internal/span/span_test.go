package span_test

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

func TestSpanHasItsTwoLargestUnits(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second:                                "0s",
		0:                                           "0s",
		250 * time.Millisecond:                      "250ms",
		45 * time.Second:                            "45s",
		59*time.Second + 600*time.Millisecond:       "1m",
		3*time.Minute + 42*time.Second:              "3m42s",
		time.Hour:                                   "1h",
		6*time.Hour + 12*time.Minute:                "6h12m",
		52*time.Hour + 10*time.Minute:               "2d4h",
		day - time.Second:                           "1d",
		time.Hour - 100*time.Millisecond:            "1h",
		2*time.Hour + 59*time.Second:                "2h1m",
		day + 30*time.Minute - time.Second:          "1d",
		time.Minute + 100*time.Millisecond:          "1m",
		999*time.Millisecond + 600*time.Microsecond: "1s",
	} {
		if got := span.Format(d); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
}

const day = 24 * time.Hour

func TestSpansAreReadWithDays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "1h": time.Hour, "1h30m": 90 * time.Minute,
		"7d": 7 * day, "1d12h": 36 * time.Hour, "0s": 0,
	} {
		if got, err := span.Parse(text); err != nil || got != want {
			t.Errorf("%s is %v, want %v (%v)", text, got, want, err)
		}
	}
	for _, text := range []string{
		"", "d", "yesterday", "-1h", "1d-1h", "1", "1w", "99999d", "1dd", "-1d", "2026-01-31T00:00:00Z",
	} {
		if got, err := span.Parse(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}
