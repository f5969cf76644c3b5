package eventbridge

import (
	"errors"
	"regexp"

	"github.com/aws/smithy-go"
)

// caller finds the account of the caller in the message of a request that IAM denies.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
var caller = regexp.MustCompile(`^User: arn:[a-z-]+:(?:iam|sts)::(\d{12}):`)

// isForeignDenial reports whether err denies a caller of another account than owner. A bus of
// another account needs a policy that allows events:PutEvents, and its owner may allow nothing
// else. The existence of such a bus needs no check: a bus that does not exist has no policy, so
// EventBridge denies PutEvents too.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html
func isForeignDenial(err error, owner string) bool {
	answer, ok := errors.AsType[smithy.APIError](err)
	if !ok || answer.ErrorCode() != "AccessDeniedException" {
		return false
	}
	named := caller.FindStringSubmatch(answer.ErrorMessage())
	return named != nil && named[1] != owner
}
