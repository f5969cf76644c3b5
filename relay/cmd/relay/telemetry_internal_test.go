package main

import (
	"strings"
	"testing"
)

func TestSignalsFollowOpenTelemetrysVariables(t *testing.T) {
	t.Parallel()
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318"
	for environment, want := range map[string][2]bool{ // traces, metrics
		"": {},
		"OTEL_SERVICE_NAME=orders OTEL_TRACES_EXPORTER=otlp": {},
		endpoint:                                                                            {true, true},
		endpoint + " OTEL_SDK_DISABLED=TRUE":                                                {},
		endpoint + " OTEL_TRACES_EXPORTER=none":                                             {false, true},
		endpoint + " OTEL_METRICS_EXPORTER=none":                                            {true, false},
		endpoint + " OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf":                             {true, true},
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://collector/v1/traces":                    {true, false},
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=https://c/v1/m OTEL_EXPORTER_OTLP_ENDPOINT=":   {false, true},
		endpoint + " OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf OTEL_TRACES_SAMPLER=": {true, true},
	} {
		for i, signal := range []string{"TRACES", "METRICS"} {
			if got, err := wantsSignal(signal, getenvOf(environment)); got != want[i] || err != nil {
				t.Errorf("%s with %q: %v, %v", signal, environment, got, err)
			}
		}
	}
}

func TestAnUnusableVariableIsNamed(t *testing.T) {
	t.Parallel()
	const (
		prefix   = "OTEL_EXPORTER_OTLP_"
		endpoint = prefix + "ENDPOINT=http://collector:4318 "
	)
	for environment, want := range map[string]string{
		endpoint + prefix + "PROTOCOL=grpc":        prefix + "PROTOCOL",
		endpoint + prefix + "TRACES_PROTOCOL=grpc": prefix + "TRACES_PROTOCOL",
		endpoint + "OTEL_TRACES_EXPORTER=zipkin":   "OTEL_TRACES_EXPORTER",
		prefix + "ENDPOINT=collector:4318":         prefix + "ENDPOINT",
		endpoint + prefix + "TRACES_ENDPOINT=here": prefix + "TRACES_ENDPOINT",
	} {
		got, err := wantsSignal("TRACES", getenvOf(environment))
		if got || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", environment, got, err)
		}
	}
}

// getenvOf reads variables from a text with spaces between them.
func getenvOf(environment string) func(string) string {
	return func(name string) string {
		for variable := range strings.FieldsSeq(environment) {
			if value, found := strings.CutPrefix(variable, name+"="); found {
				return value
			}
		}
		return ""
	}
}
