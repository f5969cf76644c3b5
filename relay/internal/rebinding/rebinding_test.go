package rebinding_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/rebinding"
)

func TestOnlyNamesOfThisMachineAreServed(t *testing.T) {
	t.Parallel()
	guard := rebinding.Guard{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("secret"))
		}),
		Name: "bastion", Probes: []string{"/livez"},
	}
	const open = "503 secret"
	for host, want := range map[string]string{
		"localhost:9464": open, "LOCALHOST": open, "127.0.0.1:9464": open, "127.0.1.1": open, "[::1]:9464": open,
		"[::1]": open, "bastion:9464": open, "": open, // the last one is HTTP/1.0
		"evil.example:9464": "421", "evil.example": "421", "127.0.0.1.evil.example": "421",
		"localhost.evil.example:9464": "421", "2130706433": "421", "[evil.example]": "421",
		"bastion.evil.example": "421",
	} {
		if got := ask(guard, host, "/status"); !strings.HasPrefix(got, want) {
			t.Errorf("%q: the page answers %q, want %q", host, got, want)
		}
		probe := open
		if want != open {
			probe = "503 "
		}
		if got := ask(guard, host, "/livez"); got != probe {
			t.Errorf("%q: the probe answers %q, want %q", host, got, probe)
		}
	}
}

func ask(h http.Handler, host, path string) string {
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = host
	h.ServeHTTP(w, r)
	return fmt.Sprint(w.Code, " ", w.Body)
}
