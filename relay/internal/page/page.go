// Package page serves the status page: one file that shows the JSON of /status to an operator.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strings"
)

var (
	//go:embed page.html
	markup string
	//go:embed page.css
	style string
	//go:embed page.js
	script string
	//go:embed events.js
	events string
	//go:embed poll.js
	polling string
)

// document is the page with its style and its script. policy allows exactly these two.
var document, policy = assemble()

func assemble() (document []byte, policy string) {
	all := script + events + polling
	text := strings.NewReplacer("{{style}}", style, "{{script}}", all).Replace(markup)
	return []byte(text), "default-src 'none'; style-src '" + hash(style) + "'; script-src '" + hash(all) +
		"'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// hash returns the name of an inline element in a Content-Security-Policy.
// https://www.w3.org/TR/CSP3/#grammardef-hash-source
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Handler serves the page at /, and each handler of data at its pattern. A browser does not cache
// the page, and does not show it to other sites.
func Handler(data map[string]http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		_, _ = bytes.NewReader(document).WriteTo(w)
	})
	for pattern, handler := range data {
		mux.Handle(pattern, handler)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Cache-Control", "no-store")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}
