package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/google/uuid"

	"github.com/outbox-relay/outbox-relay/functions/internal/order"
)

// canonicalUUID is the length of the only accepted form: 8-4-4-4-12 digits.
const canonicalUUID = 36

// GetOrder answers GET /orders/{id}.
func GetOrder(orders *order.Store, log *slog.Logger) Handler {
	return endpoint(log, func(ctx context.Context, request Request) (response Response, refusal *problem, cause error) {
		text := request.PathParameters["id"]
		id, err := uuid.Parse(text)
		if err != nil || len(text) != canonicalUUID {
			return response, newProblem(http.StatusBadRequest, "the id of an order is a UUID"), nil
		}
		o, err := orders.Get(ctx, callerOf(request), id)
		if errors.Is(err, order.ErrNotFound) {
			return response, newProblem(http.StatusNotFound, "there is no order with this id"), nil
		}
		if err != nil {
			return response, nil, err
		}
		response, err = jsonResponse(http.StatusOK, nil, o)
		return response, nil, err
	})
}
