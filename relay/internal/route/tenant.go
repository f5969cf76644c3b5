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
	kind tenantKind
	name string // of the header, or of the column as the setting has it
}

type tenantKind uint8

const (
	tenantAggregate tenantKind = iota
	tenantNone
	tenantHeader
	tenantColumn
)

// ParseTenant reads the setting RELAY_TENANT: aggregate, none, header:NAME or column:NAME. The
// empty setting means aggregate. The caller reads the name of a column: see [Tenant.Column].
func ParseTenant(setting string) (Tenant, error) {
	kind, name, named := strings.Cut(strings.TrimSpace(setting), ":")
	switch {
	case !named && (kind == "" || kind == "aggregate"):
		return Tenant{}, nil
	case !named && kind == "none":
		return Tenant{kind: tenantNone}, nil
	case kind == "header" && name != "":
		return Tenant{kind: tenantHeader, name: name}, nil
	case kind == "column" && name != "":
		return Tenant{kind: tenantColumn, name: name}, nil
	}
	return Tenant{}, fmt.Errorf("%s: %q: write aggregate, none, header:NAME or column:NAME", SettingTenant, setting)
}

// String returns the setting.
func (t Tenant) String() string {
	switch t.kind {
	case tenantNone:
		return "none"
	case tenantHeader:
		return "header:" + t.name
	case tenantColumn:
		return "column:" + t.name
	}
	return "aggregate"
}

// Column returns the column with the tenant as the setting names it, or an empty text. It may be a
// list of alternative names, and the names may be quoted.
func (t Tenant) Column() string {
	if t.kind == tenantColumn {
		return t.name
	}
	return ""
}

// of returns the tenant of e, whose message group is group: the value of the header or column in
// the form of [Group]. It is empty where e has no such header, or NULL in the column.
func (t Tenant) of(e *outbox.Envelope, group string) string {
	switch t.kind {
	case tenantAggregate:
		return group
	case tenantNone:
		return ""
	case tenantColumn:
		return fitted(e.Tenant)
	}
	var space [8]header
	headers, _ := readHeaders(space[:0], e.Headers)
	for _, h := range headers {
		if h.name == t.name {
			return fitted(h.value)
		}
	}
	return ""
}

// fitted returns value as an identifier that AWS accepts.
func fitted(value string) string {
	var text [maxIdentifier]byte
	return string(fit(appendEscaped(text[:0], value, ""), maxIdentifier))
}
