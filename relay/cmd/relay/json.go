package main

import (
	"encoding/json"
	"io"
)

// formatVersion is the version of the JSON forms of all commands except status, whose form is that
// of package status. It changes when a field changes its meaning or disappears, not when one is
// added.
const formatVersion = 1

// printJSON prints the JSON form of an answer.
func printJSON(w io.Writer, form any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(form)
}
