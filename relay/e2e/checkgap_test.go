package e2e_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestCheckEndsAtAGapAsTheStartDoes: relay check says in the same words that relay run would end.
func TestCheckEndsAtAGapAsTheStartDoes(t *testing.T) {
	t.Parallel()
	plain := append(slices.Clone(plainColumns), "RELAY_START=now")
	for name, c := range map[string]struct {
		env  []string
		lose func(*testEnv)
	}{
		"plain table, advanced": {plain, func(w *testEnv) { w.advanceSlot() }},
		"plain table, dropped":  {plain, (*testEnv).dropSlot},
		"halt, advanced":        {[]string{"RELAY_ON_SLOT_LOSS=halt"}, func(w *testEnv) { w.advanceSlot() }},
		"halt, publication":     {[]string{"RELAY_ON_SLOT_LOSS=halt"}, (*testEnv).renewPublication},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newPlainTable(t, "orders")
			w.exec(`ALTER PUBLICATION outbox_pub SET TABLE plain, outbox_events`)
			w.startStreaming(c.env...).stop()
			w.exec(insertPlain, "written while no relay runs")
			c.lose(w)
			checked, err := w.command(c.env, "check")
			if err == nil || strings.Contains(checked, "relay run would start") {
				t.Errorf("check: %v: %s", err, checked)
			}
			run, err := w.command(c.env, "run")
			if want := gapIn(run); err == nil || want == "" || want != gapIn(checked) {
				t.Errorf("check says %q, and run %q (%v)", gapIn(checked), want, err)
			}
			if !slices.Contains(c.env, "RELAY_ON_SLOT_LOSS=halt") {
				return
			}
			if checked, err = w.command(nil, "check"); err != nil {
				t.Errorf("the relay would recover, and check says %s", checked)
			}
		})
	}
}

// renewPublication writes the catalog rows of the publication again.
func (w *testEnv) renewPublication() {
	w.t.Helper()
	w.exec(`ALTER PUBLICATION outbox_pub SET TABLE plain`)
	w.exec(`ALTER PUBLICATION outbox_pub SET TABLE plain, outbox_events`)
}

// gapIn returns the sentences about the gap.
func gapIn(output string) string {
	return regexp.MustCompile(`slot \S+ cannot bring every event: [^\n"]*`).FindString(output)
}
