package api

import (
	"fmt"
	"strings"
)

// callerOf returns the owner of the request's order and idempotency key: the account and the role
// or user of a signed request, or the principal of an authorizer. It is empty without an identity:
// on a local machine, and in an API without an authorizer.
//
// The session of a role is no part of the caller. Its name changes with every instance of a client,
// which would lose its orders.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns
func callerOf(request Request) string {
	arn := request.RequestContext.Identity.UserArn
	if account, session, isSession := strings.Cut(arn, ":assumed-role/"); isSession {
		role, _, _ := strings.Cut(session, "/")
		return account + ":assumed-role/" + role
	}
	if arn != "" {
		return arn
	}
	authorizer := request.RequestContext.Authorizer
	if principal, given := authorizer["principalId"]; given {
		return fmt.Sprintf("principal:%v", principal)
	}
	claims, _ := authorizer["claims"].(map[string]any)
	if subject, given := claims["sub"]; given {
		return fmt.Sprintf("subject:%v", subject)
	}
	return ""
}
