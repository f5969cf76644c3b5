package main

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

func TestMisspeltSettingsAreNamedWithTheNearest(t *testing.T) {
	for variable, nearest := range map[string]string{
		"RELAY_DESTINATON": "RELAY_DESTINATION?", "RELAY_RETENTON": "RELAY_RETENTION?",
		"RELAY_COLUMN_SEQENCE": "RELAY_COLUMN_SEQUENCE?",
		"RELAY_COLUMN_ORDER":   "RELAY_ORDER_KEY?", "RELAY_COLUMN_AGGREGATED_ID": "RELAY_COLUMN_AGGREGATE_ID?",
		"RELAY_PARKING_AFTER": "RELAY_PARK_AFTER?", "RELAY_COLUMN_COLOR": "no effect",
		"RELAY_SLOTS": "RELAY_SLOT?", "RELAY_COLOR_OF_THE_SKY": "no effect", "RELAY_": "no effect",
	} {
		found := unknownSettings([]string{
			"PATH=/bin", "RELAY_SLOT=x", variable + "=1", "RELAY_DESTINATION=y",
			"AWS_REGION=z",
		})
		if len(found) != 1 || found[0].Level != preflight.Degraded ||
			!strings.Contains(found[0].Explanation, variable+" is no setting") ||
			!strings.HasSuffix(found[0].Explanation, nearest) {
			t.Errorf("%s: %v, want %s", variable, found, nearest)
		}
	}
}

func TestVariablesOfKubernetesAreNoSettings(t *testing.T) {
	for _, variable := range []string{
		"RELAY_SERVICE_HOST", "RELAY_SERVICE_PORT", "RELAY_SERVICE_PORT_HTTP", "RELAY_PORT", "RELAY_PORT_9464_TCP",
		"RELAY_PORT_9464_TCP_ADDR",
		"RELAY_METRICS_SERVICE_HOST", "RELAY_STANDBY_PORT_9464_TCP_PROTO",
	} {
		if found := unknownSettings([]string{variable + "=tcp://10.0.0.1:9464"}); found != nil {
			t.Errorf("%s: %v", variable, found)
		}
	}
}
