package sink

import "errors"

// identities are the codes by which a service refuses the signer of a request, whatever the request
// is. A service with AWS JSON sends the names of the shapes, one with the Query protocol the codes.
//
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

// IsIdentity reports whether err concerns the signer of requests: the relay has no credentials, or
// the service does not accept them. That says nothing about one destination, because all of them
// share the credentials.
func IsIdentity(err error) bool {
	failure, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	return failure.Origin == OriginCredentials || failure.Origin == OriginRequest && identities[failure.Code]
}
