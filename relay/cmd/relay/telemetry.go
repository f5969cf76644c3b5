package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/telemetry"
)

// Variables of OpenTelemetry that the Go SDK leaves to the program. Each signal has its own variant
// of the endpoint and of the protocol.
// https://opentelemetry.io/docs/specs/otel/protocol/exporter/
const (
	otelDisabled = "OTEL_SDK_DISABLED"
	otlpEndpoint = "OTEL_EXPORTER_OTLP_%sENDPOINT"
	otlpProtocol = "OTEL_EXPORTER_OTLP_%sPROTOCOL"
	otelExporter = "OTEL_%s_EXPORTER"

	protocolHTTP = "http/protobuf"
)

// openTelemetry returns an exporter of the signals that the environment asks for, or nil. A
// variable that it cannot follow is no reason to deliver no events: it logs the reason, and that
// signal is off.
func openTelemetry(ctx context.Context, getenv func(string) string, s telemetry.Settings) *telemetry.Exporter {
	var problems [2]error
	s.Traces, problems[0] = wantsSignal("TRACES", getenv)
	s.Metrics, problems[1] = wantsSignal("METRICS", getenv)
	if err := errors.Join(problems[:]...); err != nil {
		s.Log.Warn("the relay exports less to OpenTelemetry than its variables ask for", "event", "telemetry_off",
			"err", err)
	}
	if !s.Traces && !s.Metrics {
		return nil
	}
	exporter, err := telemetry.Open(ctx, s)
	if err != nil {
		s.Log.Warn("the relay exports nothing to OpenTelemetry", "event", "telemetry_off", "err", err)
		return nil
	}
	s.Log.Info("OpenTelemetry is on", "event", "telemetry_on", "traces", s.Traces, "metrics", s.Metrics)
	return exporter
}

// wantsSignal reports whether a signal, TRACES or METRICS, has an endpoint and is not switched off.
// It returns an error for a value that this relay cannot follow.
func wantsSignal(signal string, getenv func(string) string) (bool, error) {
	endpointName, endpoint := ofSignal(otlpEndpoint, signal, getenv)
	exporterName := fmt.Sprintf(otelExporter, signal)
	exporter := cmp.Or(getenv(exporterName), "otlp")
	protocolName, protocol := ofSignal(otlpProtocol, signal, getenv)
	switch {
	case endpoint == "", exporter == "none", strings.EqualFold(getenv(otelDisabled), "true"):
		return false, nil
	case exporter != "otlp":
		return false, fmt.Errorf("%s is %q: set otlp or none", exporterName, exporter)
	case protocol != "" && protocol != protocolHTTP:
		return false, fmt.Errorf("%s is %q, and the relay sends %s only: set it, with the port of that protocol "+
			"(usually 4318) in %s", protocolName, protocol, protocolHTTP, endpointName)
	}
	parsed, err := url.Parse(endpoint)
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return false, fmt.Errorf("%s is no URL of HTTP: write it as in http://127.0.0.1:4318", endpointName)
	}
	return true, nil
}

// ofSignal returns the name and the value of a variable for a signal. The variable for all signals
// counts if the signal's own is empty.
func ofSignal(format, signal string, getenv func(string) string) (name, value string) {
	if name = fmt.Sprintf(format, signal+"_"); getenv(name) != "" {
		return name, getenv(name)
	}
	name = fmt.Sprintf(format, "")
	return name, getenv(name)
}
