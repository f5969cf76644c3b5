package messaging_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
)

// startCloudFormation answers each call of an action with the next of its answers, and the last one
// for ever. An answer that begins with < is the body of a success, and any other one the message of
// a refusal.
func startCloudFormation(t *testing.T, answers map[string][]string) (endpoint string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		action := r.FormValue("Action")
		signed := strings.Contains(r.Header.Get("Authorization"), "/cloudformation/aws4_request")
		if len(answers[action]) == 0 || r.FormValue("StackName") != "messaging" ||
			r.FormValue("Version") != "2010-05-15" || !signed {
			t.Errorf("unexpected request: %v", r.Form)
			return
		}
		answer := answers[action][0]
		if len(answers[action]) > 1 {
			answers[action] = answers[action][1:]
		}
		if !strings.HasPrefix(answer, "<") {
			w.WriteHeader(http.StatusBadRequest)
			answer = "<ErrorResponse xmlns='http://cloudformation.amazonaws.com/doc/2010-05-15/'><Error>" +
				"<Type>Sender</Type><Code>ValidationError</Code><Message>" + answer +
				"</Message></Error></ErrorResponse>"
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func described(status string) string {
	return "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackStatus>" + status +
		"</StackStatus></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
}

const (
	noStack = "Stack with id messaging does not exist"
	done    = "<Response/>"
)

func TestFailedDeploymentNamesItsReasons(t *testing.T) {
	t.Parallel()
	event := "<member><ResourceType>AWS::SQS::Queue</ResourceType><LogicalResourceId>Queue</LogicalResourceId>" +
		"<ResourceStatus>%s</ResourceStatus><ResourceStatusReason>%s</ResourceStatusReason></member>"
	endpoint := startCloudFormation(t, map[string][]string{
		"DescribeStacks": {noStack, described("CREATE_IN_PROGRESS"), described("ROLLBACK_COMPLETE")},
		"CreateStack":    {done},
		"DescribeStackEvents": {"<DescribeStackEventsResponse><DescribeStackEventsResult><StackEvents>" +
			fmt.Sprintf(event, "CREATE_IN_PROGRESS", "") + fmt.Sprintf(event, "CREATE_FAILED", "the name is taken") +
			"</StackEvents></DescribeStackEventsResult></DescribeStackEventsResponse>"},
	})
	_, err := messaging.Deploy(t.Context(), endpoint, templates(t))
	const reason = "in state ROLLBACK_COMPLETE: AWS::SQS::Queue Queue: the name is taken"
	if err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("the error is %v", err)
	}
}

func TestRefusedDeploymentNamesItsRefusal(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string]map[string][]string{
		"create": {"DescribeStacks": {noStack}, "CreateStack": {"Template error"}},
		"update": {
			"DescribeStacks": {described("CREATE_COMPLETE")}, "UpdateStack": {"Template error"},
			"GetTemplate": {"<GetTemplateResponse><GetTemplateResult><TemplateBody>old</TemplateBody>" +
				"</GetTemplateResult></GetTemplateResponse>"},
		},
	} {
		_, err := messaging.Deploy(t.Context(), startCloudFormation(t, answers), templates(t))
		if err == nil || !strings.Contains(err.Error(), name+" stack") ||
			!strings.Contains(err.Error(), "ValidationError: Template error") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

// TestUnusableStackIsReplaced: a stack whose creation failed can only be deleted.
func TestUnusableStackIsReplaced(t *testing.T) {
	t.Parallel()
	endpoint := startCloudFormation(t, map[string][]string{
		"DescribeStacks": {
			described("ROLLBACK_COMPLETE"), described("DELETE_IN_PROGRESS"), described("DELETE_COMPLETE"),
			described("CREATE_COMPLETE"),
		},
		"DeleteStack": {done},
		"CreateStack": {done},
	})
	_, err := messaging.Deploy(t.Context(), endpoint, templates(t))
	if err == nil || !strings.Contains(err.Error(), "the template messaging has no output") { // as this stack has none
		t.Errorf("the error is %v", err)
	}
}
