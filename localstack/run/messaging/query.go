package messaging

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// queryClient calls a service by the query protocol of AWS. The SDK's client of CloudFormation is
// one of the largest packages that a first make demo would compile, for six calls.
// https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
type queryClient struct {
	endpoint, service, version string
}

// queryError is an answer that refuses a request.
type queryError struct {
	Status  int
	Code    string `xml:"Error>Code"`
	Message string `xml:"Error>Message"`
}

func (e *queryError) Error() string {
	return fmt.Sprintf("HTTP status %d: %s: %s", e.Status, e.Code, e.Message)
}

// longestAnswer bounds an answer, in bytes.
const longestAnswer = 16 << 20

// call calls an action and decodes its answer, unless that is nil.
func (c *queryClient) call(ctx context.Context, action string, parameters url.Values, answer any) error {
	response, err := c.send(ctx, action, parameters)
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	defer response.Body.Close()
	body := xml.NewDecoder(io.LimitReader(response.Body, longestAnswer))
	if response.StatusCode != http.StatusOK {
		refused := &queryError{Status: response.StatusCode}
		_ = body.Decode(refused) // the status alone, where the broker does not write XML
		return fmt.Errorf("%s: %w", action, refused)
	}
	if answer == nil {
		return nil
	}
	if err := body.Decode(answer); err != nil {
		return fmt.Errorf("%s: read the answer: %w", action, err)
	}
	return nil
}

// send sends a signed request. LocalStack reads from the signature which service is meant.
func (c *queryClient) send(ctx context.Context, action string, parameters url.Values) (*http.Response, error) {
	parameters.Set("Action", action)
	parameters.Set("Version", c.version)
	body := parameters.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(body))
	keys := aws.Credentials{AccessKeyID: AccessKey, SecretAccessKey: SecretKey}
	err = v4.NewSigner().SignHTTP(ctx, keys, request, hex.EncodeToString(sum[:]), c.service, Region, time.Now())
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(request)
}
