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

// A machine that stalls for longer than the limit of a request makes the relay repeat it.
func TestARequestThatTimesOutExplainsARepetition(t *testing.T) {
	t.Parallel()
	const unavailable = "level=WARN event=destination_unavailable attempt=1 code="
	p := &relay{log: &relayLog{lines: []logLine{{10, unavailable + "timeout"}, {20, unavailable + "AccessDenied"}}}}
	for faults, want := range map[int]int{0: 0, 1: 1} {
		r := &run{
			plan: &Plan{Steps: make([]Step, faults)}, recorder: &recorder{}, relays: &processes{all: []*relay{p}},
		}
		r.readLogs()
		if got := r.recorder.faults; len(got) != want || want > 0 && (got[0].From != 10 || !got[0].Repeats) {
			t.Errorf("with %d faults of the plan: %+v, want %d noticed", faults, got, want)
		}
	}
}
