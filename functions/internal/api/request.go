package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"github.com/outbox-relay/outbox-relay/functions/internal/tracing"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// lambdaTrace is the context key for the value of _X_AMZN_TRACE_ID in aws-lambda-go.
const lambdaTrace = "x-amzn-trace-id"

// maxBody has room for the longest order in UTF-8 with generous white space.
const maxBody = 256 << 10

var (
	visibleASCII = regexp.MustCompile(`^[!-~]{1,255}$`)
	// https://www.w3.org/TR/trace-context/#traceparent-header
	traceparent = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-[!-~]{1,200})?$`)
	// https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
	xrayHeader = regexp.MustCompile(`^[A-Za-z0-9=:;,._/-]{1,512}$`)
)

// headerValues returns every value of a header. API Gateway passes names as the client wrote them.
func headerValues(request Request, name string) []string {
	var values []string
	for given, all := range request.MultiValueHeaders {
		if strings.EqualFold(given, name) {
			values = append(values, all...)
		}
	}
	if values != nil {
		return values
	}
	for given, value := range request.Headers {
		if strings.EqualFold(given, name) {
			values = append(values, value)
		}
	}
	return values
}

// jsonBody returns the body of a request that says it is JSON.
func jsonBody(request Request) ([]byte, *problem) {
	if !isJSON(headerValues(request, "Content-Type")) {
		return nil, newProblem(http.StatusUnsupportedMediaType, "Content-Type must be application/json in UTF-8")
	}
	body := []byte(request.Body)
	if request.IsBase64Encoded {
		decoded, err := base64.StdEncoding.DecodeString(request.Body)
		if err != nil {
			return nil, newProblem(http.StatusBadRequest, "the body is not the base64 it is said to be")
		}
		body = decoded
	}
	if len(body) > maxBody {
		return nil, newProblem(http.StatusRequestEntityTooLarge,
			fmt.Sprintf("the body is longer than %d bytes", maxBody))
	}
	return body, nil
}

func isJSON(contentTypes []string) bool {
	if len(contentTypes) != 1 {
		return false
	}
	mediaType, parameters, err := mime.ParseMediaType(contentTypes[0])
	charset, given := parameters["charset"]
	return err == nil && mediaType == "application/json" && (!given || strings.EqualFold(charset, "utf-8"))
}

// idempotencyKey accepts any visible ASCII: the header's draft requires a quoted string, but most
// clients send a bare one.
// https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
func idempotencyKey(request Request) (key string, wrong []fieldError) {
	const name = "Idempotency-Key"
	values := headerValues(request, name)
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", []fieldError{{Header: name, Detail: "is given more than once"}}
	case !visibleASCII.MatchString(values[0]):
		return "", []fieldError{{Header: name, Detail: "must have 1 to 255 visible ASCII characters"}}
	}
	return values[0], nil
}

// traceHeaders returns the trace of the request for the headers of its event. It ignores a header
// that is malformed or repeated. The span of ctx and Lambda's trace name this invocation. The
// client's headers only name the origin.
func traceHeaders(ctx context.Context, request Request) map[string]string {
	headers := map[string]string{}
	for name, valid := range map[string]func(string) bool{
		outbox.HeaderTraceparent: validTraceparent,
		outbox.HeaderXRay:        xrayHeader.MatchString,
	} {
		if values := headerValues(request, name); len(values) == 1 && valid(values[0]) {
			headers[name] = values[0]
		}
	}
	if trace, _ := ctx.Value(lambdaTrace).(string); xrayHeader.MatchString(trace) {
		headers[outbox.HeaderXRay] = trace
	}
	tracing.Headers(ctx, headers)
	return headers
}

// validTraceparent accepts later versions too, which can have further parts at the end.
func validTraceparent(value string) bool {
	parts := traceparent.FindStringSubmatch(value)
	if parts == nil {
		return false
	}
	version, traceID, parentID, more := parts[1], parts[2], parts[3], parts[4]
	return version != "ff" && (version != "00" || more == "") &&
		strings.Trim(traceID, "0") != "" && strings.Trim(parentID, "0") != ""
}
