package testrun

import (
	"encoding/json"
	"strings"
	"time"
)

// event is one line of go test -json: see `go doc test2json` and, for build events, `go help
// buildjson`.
type event struct {
	Time    time.Time
	Action  string
	Package string
	Test    string
	Output  string
}

// parse returns the event in a line, or false if the line is no event. go test prints some lines of
// its own.
func parse(line string) (e event, ok bool) {
	if !strings.HasPrefix(line, "{") {
		return event{}, false
	}
	err := json.Unmarshal([]byte(line), &e)
	return e, err == nil && e.Action != ""
}
