package infra_test

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// alert is a rule of Prometheus.
// https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
type alert struct {
	Alert, Expr, For string
	Annotations      struct {
		Summary    string
		RunbookURL string `yaml:"runbook_url"`
	}
}

func alerts(t *testing.T) map[string]alert {
	t.Helper()
	text, err := os.ReadFile("prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	var file struct {
		Groups []struct {
			Name  string
			Rules []alert
		}
	}
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	found := map[string]alert{}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			found[rule.Alert] = rule
		}
	}
	return found
}

// The alarms on the relay's own metrics are the same in CloudWatch and in Prometheus.
func TestPrometheusAlertsAreTheAlarms(t *testing.T) {
	t.Parallel()
	rules, template := alerts(t), read(t, "alarms.yaml")
	metrics := map[string][]string{}
	for _, m := range alarmMetrics(template) {
		if name, own := strings.CutPrefix(m.name, "OutboxRelay "); own {
			metrics[m.place] = append(metrics[m.place], name)
		}
	}
	for name, used := range metrics {
		rule, alarm := rules[name], template.resources[name].properties
		for _, metric := range used {
			if !strings.Contains(rule.Expr, metric) {
				t.Errorf("%s: %q does not use %s", name, rule.Expr, metric)
			}
		}
		threshold := fmt.Sprint(template.outcomes(alarm["Threshold"])[0])
		if !regexp.MustCompile(`[<>] ` + threshold + `\b`).MatchString(rule.Expr) {
			t.Errorf("%s: %q does not compare with %s", name, rule.Expr, threshold)
		}
		_, section, _ := strings.Cut(field(alarm, "AlarmDescription", "Fn::Sub").(string), " ${Runbooks}#")
		if rule.Annotations.RunbookURL != template.defaultOf("Runbooks")+"#"+section || rule.Annotations.Summary == "" {
			t.Errorf("%s links to %s", name, rule.Annotations.RunbookURL)
		}
		minutes := fmt.Sprintf("%vm", alarm["EvaluationPeriods"])
		if rule.For != minutes && !(rule.For == "" && minutes == "1m") {
			t.Errorf("%s fires after %q, the alarm after %s", name, rule.For, minutes)
		}
		delete(rules, name)
	}
	if len(rules) > 0 || len(metrics) < 6 {
		t.Errorf("%d alarms, and alerts without one: %v", len(metrics), rules)
	}
}

// TestEachAlertHasCases in alerts_test.yaml: one in which it fires, and one in which it does not.
func TestEachAlertHasCases(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("prometheus/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Cases []struct {
				Name   string `yaml:"alertname"`
				Alerts []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			fires[c.Name] = fires[c.Name] || len(c.Alerts) > 0
			silent[c.Name] = silent[c.Name] || len(c.Alerts) == 0
		}
	}
	for name := range alerts(t) {
		if !fires[name] || !silent[name] {
			t.Errorf("%s: a case in which it fires: %t, in which it does not: %t", name, fires[name], silent[name])
		}
	}
}

func TestPrometheusAlertsReadMetricsThatExist(t *testing.T) {
	t.Parallel()
	known := knownMetrics(t)
	for name, rule := range alerts(t) {
		for _, metric := range regexp.MustCompile(`relay_[a-z_]+`).FindAllString(rule.Expr, -1) {
			if _, ok := known["OutboxRelay "+metric]; !ok {
				t.Errorf("%s reads %s", name, metric)
			}
		}
		for _, label := range regexp.MustCompile(`\{(\w+)=`).FindAllStringSubmatch(rule.Expr, -1) {
			metric := regexp.MustCompile(`(relay_[a-z_]+)\{` + label[1]).FindStringSubmatch(rule.Expr)[1]
			if !slices.Contains(known["OutboxRelay "+metric], label[1]) {
				t.Errorf("%s: %s has no label %s", name, metric, label[1])
			}
		}
	}
}

// The table of alarms for readers has each alert with its metric, threshold, time and runbook.
func TestMetricsPageHasEachAlert(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../relay/docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "<!-- alarms:")
	table, _, _ = strings.Cut(table, "\n## ")
	rules := alerts(t)
	for _, row := range regexp.MustCompile(`(?m)^\| \[(\w+)\]\(([^)]+)\) \| `+"`(\\w+)`"+` \| ([^|]+) \| ([^|]+) \|`).
		FindAllStringSubmatch(table, -1) {
		name, runbook, metric, fires, after := row[1], row[2], row[3], row[4], row[5]
		rule, ok := rules[name]
		if !ok {
			t.Errorf("%s is no alert, or has two rows", name)
			continue
		}
		delete(rules, name)
		if used := regexp.MustCompile(`relay_[a-z_]+`).FindString(rule.Expr); metric != used {
			t.Errorf("%s: the page names %s, the rule reads %s", name, metric, used)
		}
		for _, condition := range conditions(rule.Expr) {
			if !strings.Contains(fires+" ", condition) {
				t.Errorf("%s: %q does not say %q as %s does", name, fires, condition, rule.Expr)
			}
		}
		if after != cmp.Or(rule.For, "at once") {
			t.Errorf("%s fires %s on the page, and after %q by the rule", name, after, rule.For)
		}
		_, section, _ := strings.Cut(rule.Annotations.RunbookURL, "/infra/")
		if runbook != "../../infra/"+section {
			t.Errorf("%s leads to %s, the rule to %s", name, runbook, section)
		}
	}
	for name := range rules {
		t.Errorf("the page has no row of %s", name)
	}
}

// conditions returns the words of the page for the comparison of a rule, and the values of labels
// that it selects.
func conditions(expr string) (words []string) {
	comparison := regexp.MustCompile(`([<>]) (\d+)`).FindStringSubmatch(expr)
	switch {
	case strings.Contains(expr, "increase("):
		words = append(words, "grows ")
	case comparison[1] == "<":
		words = append(words, "below "+comparison[2]+" ")
	default:
		words = append(words, "above "+comparison[2]+" ")
	}
	if strings.Contains(expr, "absent(") {
		words = append(words, "absent")
	}
	for _, selected := range regexp.MustCompile(`=~?"([^"]+)"`).FindAllStringSubmatch(expr, -1) {
		for value := range strings.SplitSeq(selected[1], "|") {
			words = append(words, "`"+value+"`")
		}
	}
	return words
}
