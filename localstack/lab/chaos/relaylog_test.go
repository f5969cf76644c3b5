package chaos

import (
	"testing"
	"time"
)

// The log of a fenced relay says so late if it waits for the database.
func TestASessionEndsWhenItsSuccessorStreams(t *testing.T) {
	t.Parallel()
	logOf := func(lines ...logLine) *relay { return &relay{log: &relayLog{lines: lines}} }
	fenced := logOf(logLine{10, "event=streaming"}, logLine{30, "event=session_ended"}, logLine{60, "event=streaming"})
	successor := logOf(logLine{5, "event=streaming"}, logLine{20, "event=recovering"})
	r := &run{relays: &processes{all: []*relay{fenced, successor}}}
	for ended, want := range map[time.Duration]time.Duration{30: 20, 15: 15, 70: 70} {
		if got := r.deposedAt(fenced, ended); got != want {
			t.Errorf("a session that ended at %d was deposed at %d, want %d", ended, got, want)
		}
	}
}
