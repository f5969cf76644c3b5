package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/outbox-relay/outbox-relay/functions/internal/order"
	"github.com/outbox-relay/outbox-relay/functions/internal/tracing"
)

// CreateOrder answers POST /orders.
func CreateOrder(orders *order.Store, log *slog.Logger) Handler {
	return endpoint(log, func(ctx context.Context, request Request) (response Response, refusal *problem, cause error) {
		wanted, refusal := readCreateRequest(request)
		if refusal != nil {
			return response, refusal, nil
		}
		ctx, span := tracing.Start(ctx, "create "+order.EventCreated, trace.SpanKindProducer)
		wanted.Headers = traceHeaders(ctx, request)
		o, created, err := orders.Create(ctx, wanted)
		tracing.End(span, err)
		if errors.Is(err, order.ErrKeyReused) {
			return response, newProblem(http.StatusUnprocessableEntity,
				"this Idempotency-Key came before with another order"), nil
		}
		if err != nil {
			return response, nil, err
		}
		status := http.StatusOK
		if created {
			status = http.StatusCreated
		}
		response, err = jsonResponse(status, map[string]string{"Location": location(request, o)}, o)
		return response, nil, err
	})
}

// location returns the path that the client used, with the stage or the base path of a custom
// domain.
func location(request Request, o order.Order) string {
	path := request.RequestContext.Path
	if path == "" {
		path = request.Path
	}
	return strings.TrimSuffix(path, "/") + "/" + o.ID.String()
}

// readCreateRequest returns the decoded request, or one problem that lists every error.
func readCreateRequest(request Request) (order.CreateRequest, *problem) {
	body, refusal := jsonBody(request)
	if refusal != nil {
		return order.CreateRequest{}, refusal
	}
	key, wrong := idempotencyKey(request)
	draft, wrongFields, err := decodeDraft(body)
	if err != nil {
		return order.CreateRequest{}, newProblem(http.StatusBadRequest, "the body is not JSON: "+err.Error(), wrong...)
	}
	if wrong = append(wrong, wrongFields...); len(wrong) > 0 {
		return order.CreateRequest{}, newProblem(http.StatusBadRequest,
			"the order cannot be taken as it is; see errors", wrong...)
	}
	return order.CreateRequest{
		Draft: draft, Caller: callerOf(request), IdempotencyKey: key,
	}, nil
}
