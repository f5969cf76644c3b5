package infra_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// rollbackAlarm is an alarm of the service, as far as the test evaluates it.
type rollbackAlarm struct {
	late, rise         float64 // oldest > late AND DIFF(oldest) > rise is one minute without delivery
	periods, breaching int
}

var stuck = regexp.MustCompile(`IF\(oldest > (\d+) AND DIFF\(oldest\) > (\d+), 1, 0\)`)

// rollbackAlarms returns the alarms that fail a deployment of the relay.
func rollbackAlarms(t *testing.T) (alarms []rollbackAlarm) {
	t.Helper()
	relay := read(t, "relay.yaml")
	names := texts(field(relay.resources["Service"].properties, "DeploymentConfiguration", "Alarms", "AlarmNames"))
	for _, name := range names {
		properties := relay.resources[name].properties
		expression := fmt.Sprint(texts(properties["Metrics"]))
		found := stuck.FindStringSubmatch(expression)
		if found == nil || !slices.Contains(texts(properties["Metrics"]), "relay_oldest_undelivered_seconds") {
			t.Fatalf("%s fails a deployment for %s", name, expression)
		}
		late, _ := strconv.ParseFloat(found[1], 64) // digits only
		rise, _ := strconv.ParseFloat(found[2], 64)
		periods, _ := properties["EvaluationPeriods"].(int)
		breaching, _ := properties["DatapointsToAlarm"].(int)
		alarms = append(alarms, rollbackAlarm{late, rise, periods, breaching})
	}
	if len(alarms) == 0 {
		t.Fatal("no alarm fails a deployment")
	}
	return alarms
}

// fires reports whether the alarm fires for the age of the oldest undelivered event in each minute.
func (a rollbackAlarm) fires(oldest []float64) bool {
	var breaching []bool
	for i := 1; i < len(oldest); i++ {
		breaching = append(breaching, oldest[i] > a.late && oldest[i]-oldest[i-1] > a.rise)
		evaluated := breaching[max(0, len(breaching)-a.periods):]
		count := 0
		for _, is := range evaluated {
			if is {
				count++
			}
		}
		if count >= a.breaching {
			return true
		}
	}
	return false
}

// A relay that starts with a backlog, after an upgrade of Postgres for instance, has old events for
// a while. ECS ignores an alarm that is active when a deployment begins, but this one becomes
// active only when the relay runs.
func TestBacklogRollsNoDeploymentBack(t *testing.T) {
	t.Parallel()
	for _, alarm := range rollbackAlarms(t) {
		for name, c := range map[string]struct {
			oldest []float64
			fires  bool
		}{
			"delivers at once":                   {[]float64{0, 1, 0, 2, 0, 0, 1}, false},
			"a backlog of an hour is worked off": {[]float64{3600, 3500, 3300, 3000, 2500, 1000, 0}, false},
			"as fast as new events arrive":       {[]float64{900, 905, 890, 900, 910, 900, 905}, false},
			"one slow minute":                    {[]float64{0, 40, 100, 0, 0, 0, 0}, false},
			"delivers nothing":                   {[]float64{10, 70, 130, 190, 250}, true},
			"delivers nothing of a backlog":      {[]float64{3600, 3660, 3720, 3780}, true},
			"one metric came a minute late":      {[]float64{10, 70, 130, 131, 220, 280}, true},
		} {
			if fires := alarm.fires(c.oldest); fires != c.fires {
				t.Errorf("%s: the alarm fires: %v", name, fires)
			}
		}
	}
}
