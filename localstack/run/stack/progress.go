package stack

import (
	"cmp"
	"fmt"
	"sync"
	"time"
)

// silence is the longest time without a line of progress.
const silence = 5 * time.Second

// progress is the step that runs, and when the last line was printed.
type progress struct {
	mu       sync.Mutex
	step     string
	since    time.Time // when the step began
	lastLine time.Time
}

// stepMark precedes a step in the lines of the supervisor, so that the command that started it
// repeats the step.
const stepMark = "\x01"

// report prints one line of progress with the time since the command began.
func (s *Stack) report(format string, args ...any) { s.print("", fmt.Sprintf(format, args...)) }

// begin reports a slow step, with its usual duration.
func (s *Stack) begin(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if s.began.IsZero() {
		s.print(text, stepMark+text)
		return
	}
	s.print(text, text)
}

func (s *Stack) print(step, line string) {
	s.progress.mu.Lock()
	defer s.progress.mu.Unlock()
	s.progress.step, s.progress.since = cmp.Or(step, "working"), time.Now()
	s.printLocked(line)
}

func (s *Stack) printLocked(line string) {
	s.progress.lastLine = time.Now()
	if !s.began.IsZero() {
		line = fmt.Sprintf("%6.1fs  %s", time.Since(s.began).Seconds(), line)
	}
	fmt.Fprintln(s.Out, line)
}

// During reports a slow step and repeats it until do returns.
func (s *Stack) During(step string, do func() error) error {
	defer s.watch(step)()
	s.begin("%s", step)
	return do()
}

// watch repeats the current step when nothing was printed for a while, until stop is called. The
// step first names the work before any other step is reported.
func (s *Stack) watch(first string) (stop func()) {
	s.progress.mu.Lock()
	now := time.Now()
	s.progress.step, s.progress.since, s.progress.lastLine = first, now, now
	s.progress.mu.Unlock()
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticks := time.NewTicker(s.silence / 10)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				s.repeat()
			case <-stopped:
				return
			}
		}
	}()
	return func() {
		close(stopped)
		<-done
	}
}

// repeat runs ten times in the time of silence, so it repeats one tick early.
func (s *Stack) repeat() {
	s.progress.mu.Lock()
	defer s.progress.mu.Unlock()
	if time.Since(s.progress.lastLine) < s.silence*8/10 {
		return
	}
	s.printLocked(fmt.Sprintf("for %.0fs now: %s", time.Since(s.progress.since).Seconds(), s.progress.step))
}
