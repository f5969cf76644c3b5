package route

import (
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Tenant selects the MessageGroupId at standard destinations. AWS' fair queues treat it as the
// tenant: while one tenant has many messages in a queue, they deliver those of the others first. At
// FIFO destinations the MessageGroupId is always the aggregate, because only aggregates have order.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
type Tenant struct {
	kind   tenantKind
	header string
}

type tenantKind uint8

const (
	tenantAggregate tenantKind = iota
	tenantNone
	tenantHeader
)

// ParseTenant reads the setting RELAY_TENANT: aggregate, none or header:NAME. The empty setting
// means aggregate.
func ParseTenant(setting string) (Tenant, error) {
	kind, name, named := strings.Cut(strings.TrimSpace(setting), ":")
	switch {
	case !named && (kind == "" || kind == "aggregate"):
		return Tenant{}, nil
	case !named && kind == "none":
		return Tenant{kind: tenantNone}, nil
	case kind == "header" && name != "":
		return Tenant{kind: tenantHeader, header: name}, nil
	}
	return Tenant{}, fmt.Errorf("%s: %q: write aggregate, none or header:NAME", SettingTenant, setting)
}

// String returns the setting.
func (t Tenant) String() string {
	switch t.kind {
	case tenantNone:
		return "none"
	case tenantHeader:
		return "header:" + t.header
	}
	return "aggregate"
}

// of returns the tenant of e, whose message group is group: the value of the header in the form of
// [Group]. It is empty where e has no such header.
func (t Tenant) of(e *outbox.Envelope, group string) string {
	switch t.kind {
	case tenantAggregate:
		return group
	case tenantNone:
		return ""
	}
	var space [8]header
	headers, _ := readHeaders(space[:0], e.Headers)
	for _, h := range headers {
		if h.name == t.header {
			var text [maxIdentifier]byte
			return string(fit(appendEscaped(text[:0], h.value, ""), maxIdentifier))
		}
	}
	return ""
}
