package sink

import "errors"

// signerCodes are the codes by which a service refuses the signer of a request, whatever the
// request is. A service with AWS JSON sends the names of the shapes, one with the Query protocol
// the codes.
//
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
var signerCodes = map[string]bool{
	"ExpiredToken":                        true,
	"ExpiredTokenException":               true,
	"IncompleteSignature":                 true,
	"IncompleteSignatureException":        true,
	"InvalidAccessKeyId":                  true,
	"InvalidClientTokenId":                true,
	"InvalidSecurity":                     true,
	"InvalidSignatureException":           true,
	"InvalidToken":                        true,
	"MissingAuthenticationToken":          true,
	"MissingAuthenticationTokenException": true,
	"RequestExpired":                      true,
	"RequestTimeTooSkewed":                true,
	"SignatureDoesNotMatch":               true,
	"UnrecognizedClientException":         true,
}

// ConcernsCredentials reports whether err concerns the signer of requests: the relay has no
// credentials, or the service does not accept them. That says nothing about one destination,
// because all of them share the credentials.
func ConcernsCredentials(err error) bool {
	failure, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	return failure.Origin == OriginCredentials || failure.Origin == OriginRequest && signerCodes[failure.Code]
}

// clockCodes are those of signerCodes that a correct clock ends. Other credentials do not help.
var clockCodes = map[string]bool{"RequestExpired": true, "RequestTimeTooSkewed": true}

// denialCodes are the codes by which a service denies a known signer the action. A session that was
// revoked, and one of a role that was replaced, get them too.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html
var denialCodes = map[string]bool{
	"AccessDenied":                true,
	"AccessDeniedException":       true,
	"AuthorizationError":          true,
	"AuthorizationErrorException": true,
}

// MayRefuseSigner reports whether a request that a service refuses with code may succeed with other
// credentials.
func MayRefuseSigner(code string) bool {
	return signerCodes[code] && !clockCodes[code] || denialCodes[code]
}
