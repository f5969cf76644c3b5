package sink

import "errors"

// identities are the codes by which a service refuses who signed a request, whatever the request is. A service with AWS
// JSON names the shapes, one with the Query protocol the codes.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
var identities = map[string]bool{
	"ExpiredToken":                        true,
	"ExpiredTokenException":               true,
	"IncompleteSignature":                 true,
	"IncompleteSignatureException":        true,
	"InvalidClientTokenId":                true,
	"InvalidSignatureException":           true,
	"MissingAuthenticationToken":          true,
	"MissingAuthenticationTokenException": true,
	"RequestExpired":                      true,
	"RequestTimeTooSkewed":                true,
	"SignatureDoesNotMatch":               true,
	"UnrecognizedClientException":         true,
}

// IsIdentity reports whether err is about who signs requests: the relay has no credentials, or the service does not accept
// them. That says nothing about one destination, as all of them have the same.
func IsIdentity(err error) bool {
	failure, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	return failure.Origin == OriginCredentials || failure.Origin == OriginRequest && identities[failure.Code]
}
