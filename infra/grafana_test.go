package infra_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// panel is one panel of prometheus/dashboard.json, which Grafana imports.
type panel struct {
	ID          int
	Title       string
	Description string
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct {
		Defaults struct {
			Thresholds struct {
				Steps []struct{ Value *float64 }
			}
		}
	}
	Targets []struct{ Expr string }
}

func panels(t *testing.T) []panel {
	t.Helper()
	var board struct{ Panels []panel }
	decodeJSON(t, "prometheus/dashboard.json", &board)
	if len(board.Panels) < 9 {
		t.Fatalf("%d panels", len(board.Panels))
	}
	return board.Panels
}

func (p panel) metrics() (names []string) {
	for _, target := range p.Targets {
		for _, name := range regexp.MustCompile(`relay_[a-z_]+`).FindAllString(target.Expr, -1) {
			names = append(names, strings.TrimSuffix(name, "_bucket"))
		}
	}
	return names
}

func (p panel) thresholds() (values []float64) {
	for _, step := range p.FieldConfig.Defaults.Thresholds.Steps {
		if step.Value != nil {
			values = append(values, *step.Value)
		}
	}
	return values
}

func TestGrafanaReadsMetricsThatExist(t *testing.T) {
	t.Parallel()
	known := knownMetrics(t)
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			labels := []string{"job", "le"}
			for _, metric := range p.metrics() {
				if _, ok := known["OutboxRelay "+metric]; !ok {
					t.Errorf("%s reads %s", p.Title, metric)
				}
				labels = append(labels, known["OutboxRelay "+metric]...)
			}
			for _, used := range regexp.MustCompile(`by \((\w+)\)|[{,] ?(\w+)=`).FindAllStringSubmatch(target.Expr,
				-1) {
				if label := used[1] + used[2]; !slices.Contains(labels, label) {
					t.Errorf("%s: no metric has the label %s", p.Title, label)
				}
			}
		}
	}
}

// Each alert has a panel with its metric and its threshold as a line.
func TestGrafanaShowsEveryAlert(t *testing.T) {
	t.Parallel()
	for name, rule := range alerts(t) {
		comparison := regexp.MustCompile(`[<>] (\d+)`).FindStringSubmatch(rule.Expr)
		threshold, err := strconv.ParseFloat(comparison[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		// Grafana's line is the first breaching value, and these metrics are whole numbers.
		threshold = max(threshold, 1)
		metric := regexp.MustCompile(`relay_[a-z_]+`).FindString(rule.Expr)
		shown := slices.ContainsFunc(panels(t), func(p panel) bool {
			return strings.HasPrefix(p.Description, name+": ") && slices.Contains(p.metrics(), metric) &&
				slices.Contains(p.thresholds(), threshold)
		})
		if !shown {
			t.Errorf("no panel shows %s of %s with a line at %v", metric, name, threshold)
		}
	}
}

func TestGrafanaShowsEveryCloudWatchMetric(t *testing.T) {
	t.Parallel()
	var shown []string
	for _, p := range panels(t) {
		shown = append(shown, p.metrics()...)
	}
	for _, m := range dashboard(t, read(t, "alarms.yaml")) {
		if name, own := strings.CutPrefix(m.name, "OutboxRelay "); own && !slices.Contains(shown, name) {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// An operator who goes from one board to the other, or from an alarm to relay status, reads the
// same words.
func TestBoardsAndAlarmsUseTheWordsOfStatus(t *testing.T) {
	t.Parallel()
	titles := map[string]string{} // of Grafana, by metric
	for _, p := range panels(t) {
		for _, name := range p.metrics() {
			titles[name] = p.Title
		}
	}
	perTime := regexp.MustCompile(` a (second|minute)$`)
	for _, m := range dashboard(t, read(t, "alarms.yaml")) {
		name, own := strings.CutPrefix(m.name, "OutboxRelay ")
		title := perTime.ReplaceAllString(titles[name], "")
		// gaps share a picture with the dead letters in CloudWatch
		if own && name != "relay_slot_gaps_total" && !strings.Contains(m.place, title) {
			t.Errorf("%s is on %q in CloudWatch, and on %q in Grafana", name, m.place, titles[name])
		}
	}
	other := regexp.MustCompile(`(?i)\b(aw(ay)|ane(w)|hang(s|ing)?|stuck|is moving|far behind|waits? in outbox)\b`)
	for _, file := range []string{"alarms.yaml", "prometheus/alerts.yaml", "prometheus/dashboard.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range other.FindAllString(string(text), -1) {
			t.Errorf("%s says %q: relay status has another word for it", file, word)
		}
	}
}

func TestGrafanaPanelsDoNotOverlap(t *testing.T) {
	t.Parallel()
	taken := map[[2]int]string{}
	for _, p := range panels(t) {
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s overlaps %q or exceeds the grid", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}
