package gateway

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/uuid"
)

const (
	accountID = "000000000000"
	stage     = "Prod" // the stage that SAM creates
)

// requestIDs identify one request.
type requestIDs struct {
	request string
	trace   string
	time    time.Time
}

func newRequestIDs(r *http.Request) requestIDs {
	ids := requestIDs{request: uuid.NewString(), trace: r.Header.Get("X-Amzn-Trace-Id"), time: time.Now().UTC()}
	if ids.trace == "" {
		var random [12]byte
		_, _ = rand.Read(random[:]) // never fails
		// https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-traceids
		ids.trace = fmt.Sprintf("Root=1-%08x-%s", ids.time.Unix(), hex.EncodeToString(random[:]))
	}
	return ids
}

func newInvocation(ids requestIDs, payload []byte) *invocation {
	return &invocation{id: uuid.NewString(), traceID: ids.trace, payload: payload, outcome: make(chan outcome, 1)}
}

// newEvent returns the event of a proxy integration, payload version 1.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
func newEvent(r *http.Request, body []byte, matched route, parameters map[string]string,
	ids requestIDs,
) events.APIGatewayProxyRequest {
	header := r.Header.Clone()
	client, clientPort, _ := net.SplitHostPort(r.RemoteAddr)
	header.Set("Host", r.Host)
	header.Set("X-Amzn-Trace-Id", ids.trace)
	header.Add("X-Forwarded-For", client)
	header.Set("X-Forwarded-Port", clientPort)
	header.Set("X-Forwarded-Proto", "http")
	query := r.URL.Query()

	event := events.APIGatewayProxyRequest{
		Resource:                        matched.path,
		Path:                            r.URL.Path,
		HTTPMethod:                      r.Method,
		Headers:                         last(header),
		MultiValueHeaders:               header,
		QueryStringParameters:           last(query),
		MultiValueQueryStringParameters: multi(query),
		PathParameters:                  parameters,
		RequestContext:                  requestContext(r, client, matched, ids),
		Body:                            string(body),
	}
	// API Gateway encodes the media types that an API declares as binary. The local API encodes
	// bodies that are not valid UTF-8, because a JSON string cannot contain them.
	if !utf8.Valid(body) {
		event.Body, event.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	return event
}

func requestContext(r *http.Request, client string, matched route,
	ids requestIDs,
) events.APIGatewayProxyRequestContext {
	return events.APIGatewayProxyRequestContext{
		AccountID:         accountID,
		APIID:             "local",
		ResourceID:        "local",
		ResourcePath:      matched.path,
		HTTPMethod:        r.Method,
		Path:              r.URL.Path, // without the stage, which is not part of this API's URLs
		Stage:             stage,
		DomainName:        r.Host,
		Protocol:          r.Proto,
		RequestID:         ids.request,
		ExtendedRequestID: ids.request,
		RequestTime:       ids.time.Format("02/Jan/2006:15:04:05 -0700"),
		RequestTimeEpoch:  ids.time.UnixMilli(),
		Identity:          events.APIGatewayRequestIdentity{SourceIP: client, UserAgent: r.UserAgent()},
	}
}

// last returns the last value of each name, as API Gateway does in its single-value maps.
func last(values map[string][]string) map[string]string {
	if len(values) == 0 {
		return nil
	}
	single := make(map[string]string, len(values))
	for name, all := range values {
		single[name] = all[len(all)-1]
	}
	return single
}

func multi(query url.Values) map[string][]string {
	if len(query) == 0 {
		return nil
	}
	return query
}
