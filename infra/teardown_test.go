package infra_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// removals are the commands that remove the leftovers of a deleted stack, in their order.
var removals = map[string][]string{
	"AWS::RDS::DBInstance":   {"aws rds delete-db-snapshot", "aws rds delete-db-instance-automated-backup"},
	"AWS::SQS::Queue":        {"aws sqs delete-queue"},
	"AWS::SNS::Topic":        {"aws sns delete-topic"},
	"AWS::SNS::Subscription": {"aws sns unsubscribe"},
	// The policy denies the deletion of objects to every principal, also to the root user.
	"AWS::S3::Bucket": {"aws s3api delete-bucket-policy", "aws s3 rm", "aws s3api delete-bucket"},
}

// goesWith are the kept resources that are removed together with another one, or never.
var goesWith = []string{"AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy", "AWS::ApiGateway::Account"}

var numerals = []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}

// section returns the part of a page from a heading to the next one of the same level.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(readFile(t, page), "\n"+heading)
	if !found {
		t.Fatalf("%s has no section %s", page, heading)
	}
	level, _, _ := strings.Cut(heading, " ")
	text, _, _ = strings.Cut(text, "\n"+level+" ")
	return text
}

func TestTearDownRemovesWhatStays(t *testing.T) {
	t.Parallel()
	text := section(t, "DEPLOYING.md", "## 7. Tear-down")
	for kind := range keepers {
		commands := removals[kind]
		if len(commands) == 0 && !slices.Contains(goesWith, kind) {
			t.Errorf("a %s stays when its stack is deleted, and no command is known that removes it", kind)
		}
		from := 0
		for _, command := range commands {
			at := strings.Index(text[from:], "`"+command+" ")
			if at < 0 {
				t.Errorf("the tear-down leaves a %s: it has no %s, or in another order", kind, command)
				break
			}
			from += at
		}
	}
}

func TestPageCountsStacksAndQueues(t *testing.T) {
	t.Parallel()
	whole, queues := read(t, root), 0
	for _, part := range []string{"messaging.yaml", "consumer.yaml"} {
		queues += len(read(t, part).named("AWS::SQS::Queue"))
	}
	stacks := 1 + len(whole.named("AWS::CloudFormation::Stack"))
	for _, want := range []string{
		fmt.Sprintf("`the policy of … is set`, %s times", numerals[stacks]),
		fmt.Sprintf("the %s queues and the topic", numerals[queues]),
	} {
		if !strings.Contains(readFile(t, "DEPLOYING.md"), want) {
			t.Errorf("the page does not say: %s", want)
		}
	}
}

// Names that a template fixes are names of the whole account and region. Each contains the name of
// the stack, or a parameter that two stacks set to two values.
func TestTwoStacksShareNoName(t *testing.T) {
	t.Parallel()
	names, own := replacing(t), regexp.MustCompile(`Name$|DBInstanceIdentifier$`)
	found := 0
	for _, template := range readAll(t) {
		for name, r := range template.resources {
			for _, property := range names[r.kind] {
				value := r.properties[property]
				if value == nil || !own.MatchString(property) || slices.Contains(selecting, r.kind+" "+property) {
					continue
				}
				found++
				if decided := template.deciding(value); !decided["Name"] &&
					!strings.Contains(fmt.Sprint(value), "AWS::StackName") {
					t.Errorf("%s: %s of %s is %v in every stack", template.file, property, name, value)
				}
			}
		}
	}
	if found < 7 {
		t.Errorf("%d names", found)
	}
}

// selecting are names of existing objects.
var selecting = []string{
	"AWS::EC2::VPCEndpoint ServiceName", "AWS::RDS::DBInstance DBSubnetGroupName",
	"AWS::RDS::DBInstance DBName", "AWS::RDS::DBInstance MasterUsername",
}
