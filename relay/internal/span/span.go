// Package span reads and writes spans of time as operators write them: 45s, 15m, 3h12m, 2d4h. It
// also writes numbers of things.
package span

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// Format returns d in its two largest units. A negative span, as two clocks may make it, is zero.
func Format(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d.Round(time.Second) < time.Hour:
		return units(d.Round(time.Second), time.Minute, "m", time.Second, "s")
	case d.Round(time.Minute) < day:
		return units(d.Round(time.Minute), time.Hour, "h", time.Minute, "m")
	}
	return units(d.Round(time.Hour), day, "d", time.Hour, "h")
}

// units writes d in a large and a small unit, and leaves a zero out.
func units(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	text := ""
	if n := d / large; n > 0 {
		text = fmt.Sprintf("%d%s", n, largeName)
	}
	if n := d % large / small; n > 0 || text == "" {
		text += fmt.Sprintf("%d%s", n, smallName)
	}
	return text
}

// Parse reads a span that is not negative. It knows days beside the units of [time.ParseDuration].
func Parse(text string) (time.Duration, error) {
	days, rest, hasDays := strings.Cut(text, "d")
	if !hasDays {
		days, rest = "0", text
	}
	n, err := strconv.ParseUint(days, 10, 16) // 65,535 days are less than the longest Duration
	var d time.Duration
	if err == nil && (rest != "" || !hasDays) {
		d, err = time.ParseDuration(rest)
	}
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no span of time: write it as in 90s, 15m, 1h30m or 7d", text)
	}
	return time.Duration(n)*day + d, nil
}

// Count returns n with its noun, as in "1 failure" and "2 failures".
func Count[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// EventsWait returns "1 event waits" or "2 events wait".
func EventsWait(n int64) string { return Count(n, "event") + " " + Verb(n, "waits", "wait") }

// Verb returns the form of a verb that follows [Count].
func Verb[N int | int64](n N, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}
