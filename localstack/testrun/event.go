package testrun

import (
	"encoding/json"
	"strings"
	"time"
)

// event is one line of go test -json, see `go doc test2json` and, for the events of a build, `go
// help buildjson`.
type event struct {
	Time    time.Time
	Action  string
	Package string
	Test    string
	Output  string
}

// parse returns the event of a line, or false for a line that is none: go test prints some of its
// own.
func parse(line string) (e event, ok bool) {
	if !strings.HasPrefix(line, "{") {
		return event{}, false
	}
	err := json.Unmarshal([]byte(line), &e)
	return e, err == nil && e.Action != ""
}
