package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
)

// response is a parsed answer of a function.
type response struct {
	status int
	header http.Header
	body   []byte
}

// parseResponse parses the answer of a proxy integration. API Gateway accepts no other fields.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
func parseResponse(answer []byte) (response, error) {
	var raw struct {
		StatusCode        int                 `json:"statusCode"`
		Headers           map[string]string   `json:"headers"`
		MultiValueHeaders map[string][]string `json:"multiValueHeaders"`
		Body              string              `json:"body"`
		IsBase64Encoded   bool                `json:"isBase64Encoded"`
	}
	decoder := json.NewDecoder(bytes.NewReader(answer))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&raw); err != nil {
		return response{}, fmt.Errorf("malformed Lambda proxy response: %w", err)
	}
	if raw.StatusCode < 200 || raw.StatusCode > 599 {
		return response{}, fmt.Errorf("malformed Lambda proxy response: status code %d", raw.StatusCode)
	}
	r := response{
		status: raw.StatusCode, header: http.Header{"Content-Type": {"application/json"}},
		body: []byte(raw.Body),
	}
	for name, value := range raw.Headers {
		r.header.Set(name, value)
	}
	for name, values := range raw.MultiValueHeaders {
		r.header[http.CanonicalHeaderKey(name)] = values
	}
	if !raw.IsBase64Encoded {
		return r, nil
	}
	body, err := base64.StdEncoding.DecodeString(raw.Body)
	if err != nil {
		return response{}, fmt.Errorf("malformed Lambda proxy response: body is not base64: %w", err)
	}
	r.body = body
	return r, nil
}

func (r response) write(w http.ResponseWriter) {
	for name, values := range r.header {
		w.Header()[name] = values
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // the client may have closed the connection
}
