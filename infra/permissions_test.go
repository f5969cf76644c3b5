package infra_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// statement is one statement of any policy.
type statement struct {
	effect             string
	actions, resources []string
	fields             map[string]any
}

func statementsOf(value any) (found []statement) {
	walk(value, func(v any) {
		fields, _ := v.(map[string]any)
		if effect, ok := fields["Effect"].(string); ok {
			found = append(found, statement{effect, texts(fields["Action"]), texts(fields["Resource"]), fields})
		}
	})
	return found
}

// isRole reports whether the policies of this resource type grant permissions to a principal. The
// policies of other types limit access to a resource or through an endpoint.
func isRole(kind string) bool { return kind == "AWS::IAM::Role" || kind == "AWS::Serverless::Function" }

func TestPermissionsNameActionsAndResources(t *testing.T) {
	t.Parallel()
	allowed := 0
	for _, template := range readAll(t) {
		for name, r := range template.resources {
			for _, s := range statementsOf(r.properties) {
				if s.effect != "Allow" {
					continue
				}
				allowed++
				if len(s.actions) == 0 || slices.ContainsFunc(s.actions, func(action string) bool {
					return strings.Contains(action, "*")
				}) {
					t.Errorf("%s: %s allows %q", template.file, name, s.actions)
				}
				if wide := tooWide(s, isRole(r.kind)); wide != "" {
					t.Errorf("%s: %s allows %q on %q", template.file, name, s.actions, wide)
				}
			}
		}
	}
	if allowed < 20 {
		t.Errorf("%d statements were found", allowed)
	}
}

// largeObjects matches the objects of the bucket for large events, whose keys are event ids.
var largeObjects = regexp.MustCompile(`:s3:::\$\{(?:Relay)?LargeEventsBucket\}/\*$`)

// tooWide returns a resource of the statement that matches more than one object, or the empty
// string.
func tooWide(s statement, role bool) string {
	if slices.Equal(s.actions, []string{"ecr:GetAuthorizationToken"}) {
		return "" // AWS has no resource for this action
	}
	for _, r := range s.resources {
		logStreams := strings.Contains(r, ":log-group:${") && strings.HasSuffix(r, "}:*")
		objects := largeObjects.MatchString(r)
		if r == "*" && !ofOwnAccount(s) || role && strings.Contains(r, "*") && !logStreams && !objects {
			return r
		}
	}
	return ""
}

// ofOwnAccount reports whether the statement matches only objects or callers of this account.
func ofOwnAccount(s statement) bool {
	return slices.ContainsFunc([]string{"s3:ResourceAccount", "aws:PrincipalAccount"}, func(key string) bool {
		return field(s.fields, "Condition", "StringEquals", key, "Ref") == "AWS::AccountId"
	})
}

// The table in README.md and the roles of the templates have the same actions.
func TestREADMEExplainsEachAllowedAction(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+(?:Role|Function))` \\| (.+?) "+
		"\\|.+\\|.+\\|$").FindAllStringSubmatch(string(readme), -1) {
		for _, action := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1) {
			explained[row[1]+" "+action[1]] = true
		}
	}
	for _, template := range readAll(t) {
		for name, r := range template.resources {
			if !isRole(r.kind) {
				continue
			}
			actions := texts(r.properties["ManagedPolicyArns"])
			for _, s := range statementsOf(r.properties["Policies"]) {
				actions = append(actions, s.actions...)
			}
			for _, action := range actions {
				may := name + " " + action[strings.LastIndex(action, "/")+1:]
				if _, known := explained[may]; !known {
					t.Errorf("%s: the README has no reason for %s", template.file, may)
				}
				explained[may] = false
			}
		}
	}
	for may, missing := range explained {
		if missing {
			t.Errorf("the README explains %s, which no template allows", may)
		}
	}
}

func TestOnlyNeededManagedPoliciesAreUsed(t *testing.T) {
	t.Parallel()
	known := []string{"service-role/AmazonAPIGatewayPushToCloudWatchLogs"}
	for _, template := range readAll(t) {
		for name, r := range template.resources {
			policies := texts(r.properties["ManagedPolicyArns"])
			list, _ := r.properties["Policies"].([]any)
			for _, policy := range list {
				fields, _ := policy.(map[string]any)
				if len(statementsOf(fields)) > 0 {
					continue
				}
				for template := range fields {
					policies = append(policies, template)
				}
			}
			for _, policy := range policies {
				if !slices.ContainsFunc(known, func(suffix string) bool { return strings.HasSuffix(policy, suffix) }) {
					t.Errorf("%s: %s has the policy %s", template.file, name, policy)
				}
			}
		}
	}
}

func TestTopicsAndQueuesRefuseRequestsWithoutTLS(t *testing.T) {
	t.Parallel()
	for _, template := range readAll(t) {
		refusing := map[string]bool{}
		for name, r := range template.resources {
			if r.kind != "AWS::SQS::QueuePolicy" && r.kind != "AWS::SNS::TopicPolicy" {
				continue
			}
			for _, s := range statementsOf(r.properties) {
				if s.effect != "Deny" || field(s.fields, "Condition", "Bool", "aws:SecureTransport") != "false" {
					continue
				}
				for _, of := range append(texts(r.properties["Queues"]), texts(r.properties["Topics"])...) {
					refusing[of] = slices.ContainsFunc(s.resources, func(named string) bool {
						return strings.TrimSuffix(named, ".Arn") == of
					})
					if !refusing[of] {
						t.Errorf("%s: %s is for %s and names %q", template.file, name, of, s.resources)
					}
				}
			}
		}
		for _, name := range append(template.named("AWS::SQS::Queue"), template.named("AWS::SNS::Topic")...) {
			if !refusing[name] {
				t.Errorf("%s: %s accepts requests without TLS", template.file, name)
			}
		}
	}
}

func TestSecurityGroupsAllowOnlyNeededConnections(t *testing.T) {
	t.Parallel()
	for _, template := range readAll(t) {
		for name, r := range template.resources {
			walk(r.properties["SecurityGroupIngress"], func(v any) {
				if source := field(v, "CidrIp"); source != nil && template.file != "network.yaml" {
					t.Errorf("%s: %s accepts connections from %v", template.file, name, source)
				}
			})
			if r.kind == "AWS::EC2::SecurityGroupIngress" && r.properties["SourceSecurityGroupId"] == nil {
				t.Errorf("%s: %s accepts connections from more than a group", template.file, name)
			}
			if r.kind == "AWS::EC2::SecurityGroup" && r.properties["SecurityGroupEgress"] == nil {
				t.Errorf("%s: %s allows every outgoing connection", template.file, name)
			}
		}
	}
}
