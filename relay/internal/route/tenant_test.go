package route_test

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

func TestTheTenantIsWhatTheSettingSays(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ setting, headers, want string }{
		{"", `{"tenant":"acme"}`, "order/4711"},
		{"aggregate", `{"tenant":"acme"}`, "order/4711"},
		{"none", `{"tenant":"acme"}`, ""},
		{"header:tenant", `{"tenant":"acme"}`, "acme"},
		{"header:tenant", `{"a":"b"}`, ""},
		{"header:tenant", `{"tenant":""}`, ""},
		{"header:tenant", `no JSON`, ""},
		{"header:tenant", ``, ""},
		{"header:tenant", `{"tenant":42}`, "42"},
		{"header:tenant id", `{"tenant id":"acme\u00e9 1"}`, "acme%C3%A9%201"},
		{"header:tenant", `{"tenant":"a\tb"}`, "a%09b"},
		{"header:tenant", `{"tenant":"` + strings.Repeat("x", 129) + `"}`, "sha256:"},
		{"column:tenant_id", `{"tenant":"no"}`, "acme%201"},
		{"column:\"TenantId\",tenant_id", `{}`, "acme%201"},
	} {
		e := event()
		e.Tenant = "acme 1"
		e.AggregateType, e.AggregateID, e.Headers = "order", "4711", test.headers
		var m sink.Message
		newRouter(t, route.Settings{Tenant: test.setting, Headers: "none"}).Message(&e, &m)
		if m.TenantID != test.want && (test.want != "sha256:" || !strings.HasPrefix(m.TenantID, test.want)) {
			t.Errorf("%s of %s: tenant %q, want %q", test.setting, test.headers, m.TenantID, test.want)
		}
		if m.GroupID != "order/4711" {
			t.Errorf("%s: the group is %q", test.setting, m.GroupID)
		}
		if refused := sink.Validate(&m, sink.Limits{MaxMessageBytes: 1 << 20}); refused != nil {
			t.Errorf("%s of %s: %v", test.setting, test.headers, refused)
		}
	}
}

func TestATenantThatIsNoneIsReported(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"tenant", "header", "header:", "aggregate:x", "none:", "column", "column:"} {
		if _, err := route.ParseTenant(setting); err == nil || !strings.Contains(err.Error(), "RELAY_TENANT") {
			t.Errorf("%q: %v", setting, err)
		}
	}
}
