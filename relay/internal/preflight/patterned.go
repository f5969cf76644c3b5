package preflight

import (
	"context"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// patterned adds the destinations that only patterns lead to, without a request to any of them.
// Some may not exist yet, and the first event of each opens it.
func (d *destinations) patterned() Findings {
	var found Findings
	for _, arn := range d.Patterned {
		object := "destination " + arn
		destination, err := sink.ParseDestination(arn)
		if err != nil {
			found = append(found, FromError(CodeDestination, object, err))
			continue
		}
		switch other, twice := d.named[arn]; {
		case twice:
			found = append(found, sameDestination(object, other, arn))
		case d.GroupBatches && !destination.FIFO:
			found = append(found, noGroupBatches(object, arn))
		case d.Unordered && destination.FIFO:
			found = append(found, unordered(object, arn))
		}
		s, err := d.lazy(destination)
		if err != nil {
			found = append(found, FromError(CodeDestination, object, err))
			continue
		}
		d.named[arn] = arn
		d.opened = append(d.opened, delivery.Destination{Name: arn, Sink: s, Patterned: true})
	}
	return append(found, passed(CodeDestination, "RELAY_ALLOWED_DESTINATIONS", "%d destinations of "+
		"RELAY_ALLOWED_DESTINATIONS are opened by their first event", len(d.Patterned)))
}

// lazy returns a sink that is opened and checked by its first request.
func (d *destinations) lazy(destination sink.Destination) (sink.Sink, error) {
	service, err := serviceOf(destination)
	if err != nil {
		return nil, err
	}
	checks := d.Destinations
	return sink.NewLazy(service.expected(destination, d.Options), func(ctx context.Context) (sink.Sink, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		s, err := checks.open(ctx, destination)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", destination, err)
		}
		if checks.Opened != nil {
			checks.Opened(checks.describe(destination.String(), s))
		}
		return s, nil
	}), nil
}
