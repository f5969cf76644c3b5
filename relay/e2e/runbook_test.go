package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// runbook is a section of infra/RUNBOOKS.md while a test walks it.
type runbook struct {
	*testEnv
	t        *testing.T
	commands []string // of the section, which are those that the walk runs
	ran      map[string]bool
	alarm    *relayAlarm // nil for an alarm on metrics that are not the relay's
	ended    bool
	env      []string
	relay    *process
	scraped  string // address of its metrics
	before   float64
}

// startScraped starts a relay whose metrics fires and ends read.
func (r *runbook) startScraped() *process {
	r.t.Helper()
	r.scraped, r.before = freeAddress(r.t), 0
	return r.start(append(r.env, "RELAY_LISTEN="+r.scraped)...)
}

// take returns a command of the page with its placeholders replaced.
func (r *runbook) take(command string, replacements []string) string {
	r.t.Helper()
	if !slices.Contains(r.commands, command) {
		r.t.Fatalf("the runbook has no command %q, only %q", command, r.commands)
	}
	r.ran[command] = true
	return strings.NewReplacer(replacements...).Replace(command)
}

// run runs a command of the page with these replacements. The exit code of relay status says how
// the relay is.
func (r *runbook) run(command string, replacements ...string) string {
	r.t.Helper()
	words := strings.Fields(r.take(command, replacements))
	output, err := r.command(r.env, words[1:]...)
	if err != nil && words[1] != "status" {
		r.t.Errorf("%s: %v\n%s", command, err, output)
	}
	return output
}

// statusSays runs relay status until it says all of texts. A relay reports a change a moment later.
func (r *runbook) statusSays(texts ...string) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("relay status says %q", texts), func() bool {
		screen := r.run("relay status")
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(screen, text) })
	})
}

// fires waits until the relay's metric is as the alarm needs it, whatever its threshold and time.
func (r *runbook) fires() {
	r.t.Helper()
	r.eventually("the metric of the alarm fires: "+r.alarm.expression, func() bool {
		value, scraped := r.value()
		return scraped && r.alarm.isBad(value, r.before)
	})
}

// ends waits until the metric is as before the fault. A counter then no longer grows.
func (r *runbook) ends() {
	r.t.Helper()
	if r.alarm.counts {
		r.before, _ = r.value()
		r.commit(event(r.t, "end", `{"n":99}`))
		r.awaitDelivered()
	}
	r.eventually("the metric of the alarm is normal: "+r.alarm.expression, func() bool {
		value, scraped := r.value()
		return scraped && !r.alarm.isBad(value, r.before)
	})
	r.ended = true
}

// value returns the highest value of the alarm's metric, and false if the relay does not answer.
func (r *runbook) value() (highest float64, scraped bool) {
	r.t.Helper()
	status, metrics := r.get("http://" + r.scraped + "/metrics")
	for line := range strings.Lines(metrics) {
		if found := r.alarm.sample.FindStringSubmatch(line); found != nil {
			value, err := strconv.ParseFloat(found[1], 64)
			r.must(err)
			highest = max(highest, value)
		}
	}
	return highest, status == 200
}

// relayAlarm is an alarm of infra/prometheus/alerts.yaml.
type relayAlarm struct {
	expression string
	sample     *regexp.Regexp // a line of its metric
	counts     bool           // the metric is a counter
	missing    bool           // a value of 0 is bad
	tolerated  float64
}

func (a *relayAlarm) isBad(value, before float64) bool {
	switch {
	case a.missing:
		return value < 1
	case a.counts:
		return value > before
	}
	return value > a.tolerated
}

// relayAlarms returns the alarms by the heading of their runbook.
func relayAlarms(t *testing.T) map[string]*relayAlarm {
	t.Helper()
	text, err := os.ReadFile("../../infra/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	metric, word := regexp.MustCompile(`(relay_\w+)(?:\{(\w+)=~"([^"]+)"\})?`), regexp.MustCompile(`\B[A-Z]`)
	alarms := map[string]*relayAlarm{}
	for _, rule := range file.Groups[0].Rules {
		m := metric.FindStringSubmatch(rule.Expr)
		labels := `(?:\{.*\})?`
		if m[2] != "" {
			labels = `\{.*` + m[2] + `="(?:` + m[3] + `)".*\}`
		}
		a := &relayAlarm{
			expression: rule.Expr, sample: regexp.MustCompile(`^` + m[1] + labels + ` (\S+)`),
			counts: strings.Contains(rule.Expr, "increase("), missing: strings.Contains(rule.Expr, "< 1"),
		}
		if strings.HasSuffix(m[1], "_bytes") {
			a.tolerated = 1 << 20 // an idle server writes log too
		}
		heading := word.ReplaceAllStringFunc(rule.Alert, func(c string) string { return " " + strings.ToLower(c) })
		alarms[heading] = a
	}
	return alarms
}

// runbookSections returns the commands of each section: code spans that begin with relay or SELECT.
func runbookSections(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("../../infra/RUNBOOKS.md")
	if err != nil {
		t.Fatal(err)
	}
	span, sections := regexp.MustCompile("`([^`]+)`"), map[string][]string{}
	for _, section := range strings.Split(string(page), "\n## ")[1:] {
		heading, text, _ := strings.Cut(section, "\n")
		sections[heading] = []string{}
		for _, found := range span.FindAllStringSubmatch(text, -1) {
			command := strings.Join(strings.Fields(found[1]), " ")
			if strings.HasPrefix(command, "relay ") || strings.HasPrefix(command, "SELECT ") {
				sections[heading] = append(sections[heading], command)
			}
		}
	}
	if len(sections) < 20 {
		t.Fatalf("the page has %d sections, want more", len(sections))
	}
	return sections
}
