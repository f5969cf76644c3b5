// Package emf writes metrics to the log in CloudWatch's embedded metric format. CloudWatch extracts
// them from there.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
package emf

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const (
	// namespace is the CloudWatch namespace of the metrics.
	namespace = "OutboxRelay"
	// deploymentDimension and slotDimension separate the metrics of two relays: of staging and
	// production, whose slots have the same name, and of two slots in one deployment. The other
	// dimensions are the labels of a metric.
	deploymentDimension = "Deployment"
	slotDimension       = "Slot"
	// prefix selects the relay's own metrics. CloudWatch has the process metrics from ECS, and each
	// metric has a price.
	prefix = "relay_"
	// maxMetrics is the limit of metric definitions in one document.
	maxMetrics = 100
)

// Writer writes the metrics of a registry. It writes a gauge as its value. It writes a counter as
// its increase since the previous document, because CloudWatch sums the values of a period. It
// writes a histogram as the increase of its count and sum.
type Writer struct {
	registry prometheus.Gatherer
	source   Source
	out      io.Writer
	written  map[string]float64 // counters by name and labels
}

// Source identifies a relay among all relays of an account and region, which share the namespace.
type Source struct {
	Deployment, Slot string
}

// NewWriter returns a Writer for the metrics of one relay.
func NewWriter(registry prometheus.Gatherer, source Source, out io.Writer) *Writer {
	return &Writer{registry: registry, source: source, out: out, written: map[string]float64{}}
}

// Run writes after every interval, and a last time when ctx ends. It calls failed with each error
// and continues.
func (w *Writer) Run(ctx context.Context, interval time.Duration, failed func(error)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for last := false; !last; {
		select {
		case <-ctx.Done():
			last = true
		case <-ticker.C:
		}
		if err := w.Write(time.Now()); err != nil {
			failed(err)
		}
	}
}

// Write writes all metrics as of now, one line for each set of labels.
func (w *Writer) Write(now time.Time) error {
	families, err := w.registry.Gather()
	if err != nil {
		return fmt.Errorf("gather metrics: %w", err)
	}
	documents := map[string]*document{}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), prefix) {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := labelsOf(metric)
			key := fmt.Sprint(labels)
			if documents[key] == nil {
				documents[key] = &document{labels: labels}
			}
			w.add(documents[key], key, family.GetName(), metric)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(documents)) {
		if err := w.writeDocument(documents[key], now); err != nil {
			return fmt.Errorf("write metrics for CloudWatch: %w", err)
		}
	}
	return nil
}

// document collects the metrics that have the same dimensions.
type document struct {
	labels [][2]string
	values []value
}

type value struct {
	name  string
	value float64
}

// labelsOf returns the labels that are not empty. Prometheus ignores an empty label, but CloudWatch
// refuses it.
func labelsOf(metric *dto.Metric) (labels [][2]string) {
	for _, label := range metric.GetLabel() {
		if label.GetValue() != "" {
			labels = append(labels, [2]string{label.GetName(), label.GetValue()})
		}
	}
	return labels
}

func (w *Writer) add(d *document, labels, name string, metric *dto.Metric) {
	switch {
	case metric.GetCounter() != nil:
		w.addGrowth(d, labels, name, metric.GetCounter().GetValue())
	case metric.GetHistogram() != nil:
		w.addGrowth(d, labels, name+"_count", float64(metric.GetHistogram().GetSampleCount()))
		w.addGrowth(d, labels, name+"_sum", metric.GetHistogram().GetSampleSum())
	case metric.GetGauge() != nil:
		d.add(name, metric.GetGauge().GetValue())
	}
}

func (w *Writer) addGrowth(d *document, labels, name string, total float64) {
	key := name + labels
	d.add(name, total-w.written[key])
	w.written[key] = total
}

// add skips values that JSON cannot represent.
func (d *document) add(name string, v float64) {
	if !math.IsNaN(v) && !math.IsInf(v, 0) {
		d.values = append(d.values, value{name, v})
	}
}

// The parts of a document, as the format names them.
type (
	metadata struct {
		Timestamp         int64 // milliseconds since 1970
		CloudWatchMetrics []directive
	}
	directive struct {
		Namespace  string
		Dimensions [][]string
		Metrics    []definition
	}
	definition struct {
		Name string
		Unit string
	}
)

func (w *Writer) writeDocument(d *document, now time.Time) error {
	for values := range slices.Chunk(d.values, maxMetrics) {
		line := map[string]any{deploymentDimension: w.source.Deployment, slotDimension: w.source.Slot}
		dimensions := []string{deploymentDimension, slotDimension}
		for _, label := range d.labels {
			dimensions = append(dimensions, label[0])
			line[label[0]] = label[1]
		}
		var definitions []definition
		for _, v := range values {
			definitions = append(definitions, definition{v.name, unitOf(v.name)})
			line[v.name] = v.value
		}
		line["_aws"] = metadata{now.UnixMilli(), []directive{{namespace, [][]string{dimensions}, definitions}}}
		if err := json.NewEncoder(w.out).Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// unitOf derives the unit from the suffix of the name, by Prometheus' convention.
// https://prometheus.io/docs/practices/naming/
func unitOf(name string) string {
	switch name = strings.TrimSuffix(name, "_sum"); {
	case strings.HasSuffix(name, "_seconds"):
		return "Seconds"
	case strings.HasSuffix(name, "_bytes"):
		return "Bytes"
	case strings.HasSuffix(name, "_total"), strings.HasSuffix(name, "_count"):
		return "Count"
	}
	return "None"
}
