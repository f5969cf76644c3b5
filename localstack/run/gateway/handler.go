package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxBody is the longest body that API Gateway accepts.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
const maxBody = 10 << 20

// handler answers as API Gateway does.
type handler struct {
	routes  routes
	timeout time.Duration
	log     *namedLog
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	ids := newRequestIDs(r)
	w.Header().Set("X-Amzn-Requestid", ids.request)
	w.Header().Set("X-Amzn-Trace-Id", ids.trace)
	status, err := h.serve(w, r, ids)
	line := fmt.Sprintf("%s %s %d %s %s", r.Method, r.URL.Path, status, time.Since(started).Round(10*time.Microsecond),
		ids.request)
	if err != nil {
		line += ": " + err.Error()
	}
	h.log.printf("%s", line)
}

// serve returns the status of the answer, and the cause of an error if the answer hides it.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, ids requestIDs) (status int, cause error) {
	target, parameters, ok := h.routes.match(r.Method, r.URL.Path)
	if !ok {
		return gatewayResponse(w, http.StatusForbidden, "MissingAuthenticationTokenException",
			"Missing Authentication Token"), nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return requestTooLarge(w), nil
	}
	if err != nil {
		return gatewayResponse(w, http.StatusBadRequest, "BadRequestException", "Bad Request"), err
	}
	payload, err := json.Marshal(newEvent(r, body, target.route, parameters, ids))
	if err != nil {
		return internalError(w), fmt.Errorf("encode the event: %w", err)
	}
	if len(payload) > maxLambdaPayload {
		return requestTooLarge(w), nil
	}
	return h.invoke(w, r, target.pool, newInvocation(ids, payload))
}

func (h *handler) invoke(w http.ResponseWriter, r *http.Request, p *pool, i *invocation) (status int, cause error) {
	ctx, cancel := context.WithTimeout(r.Context(), h.timeout)
	defer cancel()
	answer, err := p.invoke(ctx, i)
	if errors.Is(err, errIntegrationTimeout) {
		return gatewayResponse(w, http.StatusGatewayTimeout, "InternalServerErrorException",
			"Endpoint request timed out"), err
	}
	// API Gateway treats every failure of a function, including a timeout, as a malformed answer.
	if err != nil {
		return internalError(w), err
	}
	response, err := parseResponse(answer)
	if err != nil {
		return internalError(w), err
	}
	response.write(w)
	return response.status, nil
}

func internalError(w http.ResponseWriter) int {
	return gatewayResponse(w, http.StatusBadGateway, "InternalServerErrorException", "Internal server error")
}

func requestTooLarge(w http.ResponseWriter) int {
	return gatewayResponse(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException", "Request Too Long")
}

// gatewayResponse writes an answer of API Gateway itself.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
func gatewayResponse(w http.ResponseWriter, status int, errorType, message string) int {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Errortype", errorType)
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"message":%q}`, message)
	return status
}
