// Package api answers API Gateway's requests (REST, payload version 1) about orders.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/outbox-relay/outbox-relay/functions/internal/order"
)

// Handler is what lambda.Start takes. It returns no error: Lambda would hide the answer behind a 502.
type Handler func(ctx context.Context, request events.APIGatewayProxyRequest) (events.APIGatewayProxyResponse, error)

// answerMargin is what stays of the function's time for the answer once the database has used up its part.
const answerMargin = 500 * time.Millisecond

// retryAfter is when a client should try again: a failover takes longer, a lack of connections does not.
const retryAfter = 2 * time.Second

// problem is an answer that says what went wrong.
// https://www.rfc-editor.org/rfc/rfc9457
type problem struct {
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail"`
	RequestID string       `json:"request_id"`
	Errors    []fieldError `json:"errors,omitempty"`
}

// fieldError names one wrong field of the body, by JSON pointer, or one wrong header.
type fieldError struct {
	Pointer *string `json:"pointer,omitempty"` // the empty pointer is the whole body
	Header  string  `json:"header,omitempty"`
	Detail  string  `json:"detail"`
}

func newProblem(status int, detail string, errors ...fieldError) *problem {
	return &problem{Title: http.StatusText(status), Status: status, Detail: detail, Errors: errors}
}

// endpoint turns serve, which returns an answer or a problem or the cause of a failure, into a handler.
func endpoint(log *slog.Logger, serve func(context.Context, events.APIGatewayProxyRequest) (events.APIGatewayProxyResponse, *problem, error)) Handler {
	return func(ctx context.Context, request events.APIGatewayProxyRequest) (events.APIGatewayProxyResponse, error) {
		started := time.Now()
		working, cancel := withinBudget(ctx)
		defer cancel()
		response, refusal, cause := serve(working, request)
		if cause != nil {
			refusal = failure(cause)
		}
		if refusal != nil {
			response = refusal.response(request)
		}
		logRequest(ctx, log, request, response.StatusCode, time.Since(started), cause)
		return response, nil
	}
}

// withinBudget ends the work early enough to answer before Lambda ends the function.
func withinBudget(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-answerMargin))
}

// failure keeps the cause from the client.
func failure(cause error) *problem {
	if unavailable := (*order.UnavailableError)(nil); errors.As(cause, &unavailable) {
		return newProblem(http.StatusServiceUnavailable, "the database does not answer in time; try again")
	}
	return newProblem(http.StatusInternalServerError, "something is wrong here, and the operators know of it")
}

func (p *problem) response(request events.APIGatewayProxyRequest) events.APIGatewayProxyResponse {
	p.RequestID = request.RequestContext.RequestID
	response := jsonResponse(p.Status, p)
	response.Headers["Content-Type"] = "application/problem+json"
	if p.Status == http.StatusServiceUnavailable {
		response.Headers["Retry-After"] = fmt.Sprint(int(retryAfter.Seconds()))
	}
	return response
}

// jsonResponse encodes body, whose type must be one that always can be.
func jsonResponse(status int, body any) events.APIGatewayProxyResponse {
	text, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", body, err))
	}
	return events.APIGatewayProxyResponse{
		StatusCode: status,
		Headers:    map[string]string{"Content-Type": "application/json"},
		Body:       string(text),
	}
}

func logRequest(
	ctx context.Context, log *slog.Logger, request events.APIGatewayProxyRequest, status int, took time.Duration, cause error,
) {
	level := slog.LevelInfo
	attributes := []slog.Attr{
		slog.String("request_id", request.RequestContext.RequestID),
		slog.String("method", request.HTTPMethod),
		slog.String("resource", request.Resource),
		slog.Int("status", status),
		slog.Float64("took_ms", float64(took.Microseconds())/1000),
	}
	if invocation, ok := lambdacontext.FromContext(ctx); ok {
		attributes = append(attributes, slog.String("lambda_request_id", invocation.AwsRequestID))
	}
	if cause != nil {
		level = slog.LevelError
		attributes = append(attributes, slog.Any("err", cause))
	}
	log.LogAttrs(ctx, level, "request", attributes...)
}
