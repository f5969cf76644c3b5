package e2e_test

import (
	"slices"
	"strings"
	"testing"
)

// TestErrorsNameTheirCause: each error has the setting, the option or the object to change.
func TestErrorsNameTheirCause(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming().stop() // only a slot that was used has events to replay
	for _, c := range []struct{ env, args, says []string }{
		{nil, []string{"dead-letters", "show", "99"}, []string{"no dead letter of slot " + w.slot + " is selected"}},
		{nil, []string{"replay", "--event-id", "abc"}, []string{"--event-id", "RELAY_COLUMN_ID", "is uuid", `"abc"`}},
		{
			[]string{"RELAY_DESTINATION=", "RELAY_DESTINATON=x"},
			[]string{"run"},
			[]string{"RELAY_DESTINATION is empty", "RELAY_DESTINATON is no setting", "did you mean RELAY_DESTINATION?"},
		},
		{
			[]string{"RELAY_DESTINATION=orders"},
			[]string{"run"},
			[]string{`RELAY_DESTINATION or RELAY_ROUTES: destination "orders"`},
		},
	} {
		output, err := w.command(c.env, c.args...)
		missing := func(words string) bool { return !strings.Contains(output, words) }
		if err == nil || slices.ContainsFunc(c.says, missing) {
			t.Errorf("%v %v: %v: %s, want %q", c.env, c.args, err, output, c.says)
		}
	}
}
