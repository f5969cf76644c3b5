// Package api answers requests of API Gateway (REST, payload version 1) about orders.
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

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/outbox-relay/outbox-relay/functions/internal/budget"
	"github.com/outbox-relay/outbox-relay/functions/internal/order"
	"github.com/outbox-relay/outbox-relay/functions/internal/tracing"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Request and Response are the messages between API Gateway and a function.
type (
	Request  = events.APIGatewayProxyRequest
	Response = events.APIGatewayProxyResponse
)

// Handler is a handler for lambda.Start. It answers failures too, because Lambda turns an error
// into a 502.
type Handler func(ctx context.Context, request Request) (Response, error)

// answerMargin is the part of the function's timeout that is reserved for the answer after the
// database has used up the rest.
const answerMargin = 500 * time.Millisecond

// retryAfter is the delay after which a client should retry. It is enough for a lack of
// connections, but not for a failover.
const retryAfter = 2 * time.Second

// problem is an error response. https://www.rfc-editor.org/rfc/rfc9457
type problem struct {
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail"`
	RequestID string       `json:"request_id"`
	Errors    []fieldError `json:"errors,omitempty"`
}

// fieldError names one invalid field of the body, by JSON pointer, or one invalid header.
type fieldError struct {
	Pointer *string `json:"pointer,omitempty"` // the empty pointer is the whole body
	Header  string  `json:"header,omitempty"`
	Detail  string  `json:"detail"`
}

func newProblem(status int, detail string, errors ...fieldError) *problem {
	return &problem{Title: http.StatusText(status), Status: status, Detail: detail, Errors: errors}
}

// endpoint makes a handler of serve, which returns a response, a problem, or the cause of a
// failure.
func endpoint(log *slog.Logger, serve func(context.Context, Request) (Response, *problem, error)) Handler {
	return func(ctx context.Context, request Request) (Response, error) {
		started := time.Now()
		ctx, span := startSpan(ctx, request)
		working, cancel := budget.Within(ctx, answerMargin)
		defer cancel()
		response, refusal, cause := serve(working, request)
		if cause != nil {
			refusal = failure(cause)
		}
		var err error
		if refusal != nil {
			response, err = refusal.response(request)
		}
		logRequest(ctx, log, request, response.StatusCode, time.Since(started), cause)
		span.SetAttributes(semconv.HTTPResponseStatusCode(response.StatusCode))
		tracing.End(span, cause)
		return response, err
	}
}

// startSpan begins the span of the request, in the client's trace if the request names one.
func startSpan(ctx context.Context, request Request) (context.Context, trace.Span) {
	if given := headerValues(request, outbox.HeaderTraceparent); len(given) == 1 {
		ctx = tracing.Continue(ctx, map[string]string{outbox.HeaderTraceparent: given[0]})
	}
	return tracing.Start(ctx, request.HTTPMethod+" "+request.Resource, trace.SpanKindServer,
		semconv.HTTPRequestMethodKey.String(request.HTTPMethod), semconv.HTTPRoute(request.Resource))
}

// failure returns the response to a failure. It hides the cause from the client.
func failure(cause error) *problem {
	if unavailable := (*order.UnavailableError)(nil); errors.As(cause, &unavailable) {
		return newProblem(http.StatusServiceUnavailable, "the database does not answer in time; try again")
	}
	return newProblem(http.StatusInternalServerError, "something is wrong here, and the operators know of it")
}

func (p *problem) response(request Request) (Response, error) {
	p.RequestID = request.RequestContext.RequestID
	headers := map[string]string{"Content-Type": "application/problem+json"}
	if p.Status == http.StatusServiceUnavailable {
		headers["Retry-After"] = fmt.Sprint(int(retryAfter.Seconds()))
	}
	return jsonResponse(p.Status, headers, p)
}

// jsonResponse returns body as application/json, unless headers set another type.
func jsonResponse(status int, headers map[string]string, body any) (Response, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return Response{}, fmt.Errorf("encode the answer: %w", err)
	}
	if headers == nil {
		headers = map[string]string{}
	}
	if headers["Content-Type"] == "" {
		headers["Content-Type"] = "application/json"
	}
	return Response{StatusCode: status, Headers: headers, Body: string(text)}, nil
}

func logRequest(ctx context.Context, log *slog.Logger, request Request, status int, took time.Duration, cause error) {
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
