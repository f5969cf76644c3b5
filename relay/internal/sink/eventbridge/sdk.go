package eventbridge

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// sdkPublisher publishes by the SDK's client.
type sdkPublisher struct {
	client   *eventbridge.Client
	requests *transport.Client
	busARN   string
	entry    *sink.Entry
}

func (p *sdkPublisher) publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
	ctx, cancel := p.requests.Bound(ctx)
	defer cancel()
	answer, err := p.client.PutEvents(ctx, p.request(batch),
		func(o *eventbridge.Options) { o.Retryer = aws.NopRetryer{} })
	if err != nil {
		return nil, err
	}
	return results(len(batch), answer)
}

func (p *sdkPublisher) request(batch []*sink.Message) *eventbridge.PutEventsInput {
	entries := make([]types.PutEventsRequestEntry, len(batch))
	for i, m := range batch {
		entries[i] = types.PutEventsRequestEntry{
			EventBusName: &p.busARN,
			Source:       &p.entry.Source,
			DetailType:   aws.String(p.entry.Type(m)),
			Detail:       aws.String(string(sink.AppendDetail(nil, m))),
		}
		if a := sink.Trace(m.Attributes); a != nil {
			entries[i].TraceHeader = &a.Value
		}
	}
	return &eventbridge.PutEventsInput{Entries: entries}
}
