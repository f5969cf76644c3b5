package api

import (
	"fmt"
	"strings"
)

// callerOf returns the caller whom the request's order and idempotency key belong to: the account and the role or user of a
// signed request, or the principal of an authorizer. The caller is empty where nothing identifies it: on one machine, and in
// an API without an authorizer.
//
// A session of a role is no caller of its own. Its name changes with every instance of a client, which would lose its orders.
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
