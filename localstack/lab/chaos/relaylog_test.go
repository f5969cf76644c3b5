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

func TestARecoveryThatEndedIsNoHolder(t *testing.T) {
	t.Parallel()
	log := &relayLog{clock: func() time.Duration { return 0 }}
	for _, step := range []struct {
		line      string
		streaming bool
	}{
		{"event=recovering", true}, {"event=recovered", false}, {"event=streaming", true},
	} {
		if log.add(step.line); log.isStreaming() != step.streaming {
			t.Errorf("after %s the relay streams: %v", step.line, !step.streaming)
		}
	}
}
