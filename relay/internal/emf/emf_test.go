package emf_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/outbox-relay/outbox-relay/relay/internal/emf"
)

// unit matches the units that these metrics use, out of those that CloudWatch accepts.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
var unit = regexp.MustCompile(`^(Seconds|Bytes|Count|None)$`)

// read returns the values of a log by name and dimensions. It adds up the values of several lines
// and checks every line against the format.
func read(t *testing.T, log string) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for line := range strings.Lines(log) {
		var root map[string]any
		if err := json.Unmarshal([]byte(line), &root); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var head struct {
			AWS struct {
				Timestamp         int64
				CloudWatchMetrics []struct {
					Namespace  string
					Dimensions [][]string
					Metrics    []struct{ Name, Unit string }
				}
			} `json:"_aws"`
		}
		if err := json.Unmarshal([]byte(line), &head); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if len(line) > 256<<10 || head.AWS.Timestamp <= 0 || len(head.AWS.CloudWatchMetrics) != 1 {
			t.Fatalf("line of %d bytes, time %d, %d directives", len(line), head.AWS.Timestamp,
				len(head.AWS.CloudWatchMetrics))
		}
		directive := head.AWS.CloudWatchMetrics[0]
		if directive.Namespace != "OutboxRelay" || len(directive.Dimensions) != 1 || len(directive.Dimensions[0]) > 9 ||
			len(directive.Metrics) == 0 || len(directive.Metrics) > 100 {
			t.Fatalf("directive with namespace %q, dimensions %v, %d metrics", directive.Namespace,
				directive.Dimensions, len(directive.Metrics))
		}
		key := ""
		for _, dimension := range directive.Dimensions[0] {
			text, ok := root[dimension].(string)
			if !ok || text == "" || len(text) > 1024 {
				t.Errorf("dimension %s is %v", dimension, root[dimension])
			}
			key += fmt.Sprintf(" %s=%s", dimension, text)
		}
		for _, metric := range directive.Metrics {
			number, ok := root[metric.Name].(float64)
			if !ok || !unit.MatchString(metric.Unit) || slices.Contains(directive.Dimensions[0], metric.Name) {
				t.Errorf("metric %s is %v, unit %q", metric.Name, root[metric.Name], metric.Unit)
			}
			values[metric.Name+key] += number
		}
	}
	return values
}

func TestEveryMetricIsADocumentThatCloudWatchReads(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "relay_lag_bytes"})
	delivered := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "relay_requests_total"},
		[]string{"destination", "code"})
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "relay_took_seconds"}, []string{"destination"})
	unknown := prometheus.NewGauge(prometheus.GaugeOpts{Name: "relay_unknown"})
	others := prometheus.NewGauge(prometheus.GaugeOpts{Name: "go_goroutines"})
	registry.MustRegister(gauge, delivered, took, unknown, others)
	gauge.Set(1.5e12)
	unknown.Set(math.NaN())
	delivered.WithLabelValues("arn:queue", "").Add(3)
	delivered.WithLabelValues("arn:queue", "Throttling").Add(2)
	took.WithLabelValues("arn:queue").Observe(0.25)
	took.WithLabelValues("arn:queue").Observe(0.5)
	var log bytes.Buffer
	if err := emf.NewWriter(registry, emf.Source{Deployment: "staging", Slot: "relay_1"},
		&log).Write(time.Now()); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"relay_lag_bytes Deployment=staging Slot=relay_1":                                            1.5e12,
		"relay_requests_total Deployment=staging Slot=relay_1 destination=arn:queue":                 3,
		"relay_requests_total Deployment=staging Slot=relay_1 code=Throttling destination=arn:queue": 2,
		"relay_took_seconds_count Deployment=staging Slot=relay_1 destination=arn:queue":             2,
		"relay_took_seconds_sum Deployment=staging Slot=relay_1 destination=arn:queue":               0.75,
	}
	if diff := cmp.Diff(want, read(t, log.String())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !strings.Contains(log.String(), `{"Name":"relay_took_seconds_sum","Unit":"Seconds"}`) ||
		!strings.Contains(log.String(), `{"Name":"relay_lag_bytes","Unit":"Bytes"}`) {
		t.Errorf("units: %s", &log)
	}
}

func TestNoDocumentHasMoreMetricsThanOneMay(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	for i := range 250 {
		gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: fmt.Sprintf("relay_%d", i)})
		gauge.Set(float64(i))
		registry.MustRegister(gauge)
	}
	var log bytes.Buffer
	if err := emf.NewWriter(registry, emf.Source{Deployment: "staging", Slot: "slot"},
		&log).Write(time.Now()); err != nil {
		t.Fatal(err)
	}
	values := read(t, log.String())
	for i := range 250 {
		if got := values[fmt.Sprintf("relay_%d Deployment=staging Slot=slot", i)]; got != float64(i) {
			t.Errorf("metric %d is %v", i, got)
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 3 {
		t.Errorf("%d lines", lines)
	}
}

func TestCounterIncrementsAreAllWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "relay_events_total"})
		registry.MustRegister(counter)
		ctx, cancel := context.WithCancel(t.Context())
		var log bytes.Buffer
		done := make(chan struct{})
		go func() {
			emf.NewWriter(registry, emf.Source{Deployment: "staging", Slot: "slot"}, &log).Run(ctx, time.Minute,
				func(err error) { t.Error(err) })
			close(done)
		}()
		for range 3 {
			counter.Add(5)
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		counter.Add(7) // between the last interval and the end
		cancel()
		<-done
		if got := read(t, log.String())["relay_events_total Deployment=staging Slot=slot"]; got != 22 {
			t.Errorf("the growths add up to %v", got)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 4 {
			t.Errorf("%d lines: %s", lines, &log)
		}
	})
}

// full is a log that refuses every write.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestLogThatTakesNothingIsTold(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "relay_up"}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	failures := 0
	emf.NewWriter(registry, emf.Source{Deployment: "staging", Slot: "slot"}, full{}).Run(ctx, time.Hour,
		func(error) { failures++ })
	if failures != 1 {
		t.Errorf("told %d times", failures)
	}
}
