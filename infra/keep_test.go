package infra_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// keepers are the resource types that hold rows or unread messages, or carry messages that are in
// flight. Their policies keep them when a stack replaces or deletes the resource.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatereplacepolicy.html
var keepers = map[string]struct{ onDelete, onReplace string }{
	"AWS::RDS::DBInstance": {"Snapshot", "Snapshot"},
	// A queue with a fixed name that remained after a failed first deployment would make the next
	// one fail.
	"AWS::SQS::Queue":          {"RetainExceptOnCreate", "Retain"},
	"AWS::SQS::QueuePolicy":    {"RetainExceptOnCreate", "Retain"},
	"AWS::S3::Bucket":          {"RetainExceptOnCreate", "Retain"},
	"AWS::S3::BucketPolicy":    {"RetainExceptOnCreate", "Retain"},
	"AWS::SNS::Topic":          {"RetainExceptOnCreate", "Retain"},
	"AWS::SNS::Subscription":   {"RetainExceptOnCreate", "Retain"},
	"AWS::ApiGateway::Account": {"Retain", "Retain"},
}

// dataless are the resource types without data: a deployment creates them again completely.
var dataless = []string{
	"AWS::CloudFormation::Stack", "AWS::CloudFormation::CustomResource", "AWS::Serverless::Function",
	"AWS::Serverless::Api", "AWS::Lambda::EventSourceMapping",
	"AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard", "AWS::SNS::TopicPolicy",
	"AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::RouteTable", "AWS::EC2::SubnetRouteTableAssociation",
	"AWS::EC2::VPCEndpoint",
	"AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress", "AWS::IAM::Role", "AWS::Logs::LogGroup",
	"AWS::ECS::Cluster", "AWS::ECS::TaskDefinition", "AWS::ECS::Service", "AWS::RDS::DBSubnetGroup",
	"AWS::RDS::DBParameterGroup",
}

func TestNoUpdateDeletesData(t *testing.T) {
	t.Parallel()
	for _, template := range readAll(t) {
		for name, r := range template.resources {
			keep, holds := keepers[r.kind]
			if !holds && !slices.Contains(dataless, r.kind) {
				t.Errorf("%s: add the type of %s, a %s, to keepers or dataless", template.file, name, r.kind)
			}
			if template.file == "alarms.yaml" || !holds {
				continue // a notification that its subscribers missed has no later use
			}
			if r.kind == "AWS::RDS::DBInstance" && r.properties["DeleteAutomatedBackups"] != false {
				t.Errorf("%s: the backups of %s are deleted with it", template.file, name)
			}
			if r.onDelete != keep.onDelete || r.onReplace != keep.onReplace {
				t.Errorf("%s: %s has the policies %q and %q", template.file, name, r.onDelete, r.onReplace)
			}
		}
	}
}

// stackPolicy is the content of infra/stack-policy.json.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/protect-stack-resources.html
type stackPolicy struct {
	Statement []struct {
		Effect, Principal, Resource string
		Action                      any
		Condition                   struct {
			StringEquals struct{ ResourceType []string }
		}
	}
}

func TestStackPolicyProtectsResourcesWithData(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("stack-policy.json")
	if err != nil {
		t.Fatal(err)
	}
	var policy stackPolicy
	if err := json.Unmarshal(text, &policy); err != nil {
		t.Fatal(err)
	}
	var denied []string
	for _, s := range policy.Statement {
		if s.Effect == "Deny" && s.Resource == "*" &&
			slices.Equal(texts(s.Action), []string{"Update:Replace", "Update:Delete"}) {
			denied = append(denied, s.Condition.StringEquals.ResourceType...)
		}
	}
	for _, kind := range []string{
		"AWS::CloudFormation::Stack", "AWS::RDS::DBInstance", "AWS::SQS::Queue",
		"AWS::SNS::Topic", "AWS::S3::Bucket",
	} {
		if !slices.Contains(denied, kind) {
			t.Errorf("an update may replace a %s", kind)
		}
	}
}

// cloudFormation replaces aws by a script that knows one stack with two nested stacks. The first of
// these contains another one.
const cloudFormation = `#!/bin/sh
case "$*" in
*list-stack-resources\ --stack-name\ orders\ *) printf 'arn:database\tarn:events\n' ;;
*list-stack-resources\ --stack-name\ arn:database\ *) echo arn:inner ;;
*list-stack-resources*) ;;
*set-stack-policy*) echo "$*" >>"$ASKED" ;;
*) exit 1 ;;
esac
`

// The policy of a stack does not cover its nested stacks, so each of them needs its own.
func TestEveryNestedStackIsProtected(t *testing.T) {
	t.Parallel()
	tools := t.TempDir()
	//nolint:gosec // an executable
	if err := os.WriteFile(filepath.Join(tools, "aws"), []byte(cloudFormation), 0o755); err != nil {
		t.Fatal(err)
	}
	for option, policy := range map[string]string{"": "/stack-policy.json", "--lift": `"Effect":"Allow"`} {
		asked := filepath.Join(t.TempDir(), "asked")
		cmd := exec.Command("../scripts/protect-stack", strings.Fields(option+" orders")...)
		cmd.Env = append(os.Environ(), "ASKED="+asked, "PATH="+tools+":"+os.Getenv("PATH"))
		if output, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		log, err := os.ReadFile(asked)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(log)), "\n")
		for i, stack := range []string{"orders", "arn:database", "arn:inner", "arn:events"} {
			if len(lines) != 4 || !strings.Contains(lines[i], "--stack-name "+stack+" ") ||
				!strings.Contains(lines[i], policy) {
				t.Fatalf("%q: called %q", option, lines)
			}
		}
	}
}
