package infra_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Regions of China and GovCloud have other partitions, domains and consoles.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
func TestTemplatesNameNoPartition(t *testing.T) {
	t.Parallel()
	fixed := regexp.MustCompile(`arn:aws:|\.amazonaws\.com\b|console\.aws\.amazon\.com`)
	services := regexp.MustCompile(`^[a-z-]+\.amazonaws\.com$`) // principals are the same in every partition
	for _, template := range readAll(t) {
		checkPartitions := func(name string, value any) {
			walk(value, func(v any) {
				text, isText := v.(string)
				chosen := strings.HasPrefix(text, "console.") // a branch of a condition
				if isText && fixed.MatchString(text) && !services.MatchString(text) && !chosen {
					t.Errorf("%s: %s names a partition: %s", template.file, name, text)
				}
			})
		}
		for name, r := range template.resources {
			checkPartitions(name, r.properties)
		}
		for name, output := range template.outputs {
			checkPartitions(name, field(output, "Value"))
		}
	}
}

// Some endpoints have other names in China: those of ECR and SQS begin with cn.com.amazonaws.
// CloudFormation would find that out after it has created the network.
func TestNoNetworkIsCreatedInChina(t *testing.T) {
	t.Parallel()
	network := map[string]string{"VpcId": "vpc-1", "SubnetIds": "subnet-1", "DatabaseAuthorities": "replaced"}
	for _, region := range []string{"cn-north-1", "cn-northwest-1"} {
		given := map[string]string{"AWS::Region": region, "DatabaseAuthorities": "replaced"}
		for _, file := range []string{root, "network.yaml"} {
			if refused := read(t, file).refusals(given); len(refused) != 1 {
				t.Errorf("%s: a network in %s is refused because of %q", file, region, refused)
			}
		}
		network["AWS::Region"] = region
		if refused := read(t, root).refusals(network); len(refused) > 0 {
			t.Errorf("an existing network in %s is refused because of %q", region, refused)
		}
	}
}

// The policies of an endpoint and of a role both have to allow an action. A role that works in one
// network would be denied in the other.
// https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-access.html
func TestEndpointsAllowWhatRolesMayDo(t *testing.T) {
	t.Parallel()
	network := read(t, "network.yaml")
	allowed := map[string]bool{}
	for _, name := range network.named("AWS::EC2::VPCEndpoint") {
		for _, s := range statementsOf(network.resources[name].properties) {
			for _, action := range s.actions {
				allowed[action] = true
			}
		}
	}
	checked := 0
	for _, template := range readAll(t) {
		for name, r := range template.resources {
			if !isRole(r.kind) {
				continue
			}
			for _, s := range statementsOf(r.properties["Policies"]) {
				for _, action := range s.actions {
					// SQS and KMS are called by Lambda, SNS, SQS and S3, outside of the network.
					service, _, _ := strings.Cut(action, ":")
					if name == "CreateShipmentFunction" || service == "kms" || service == "rds-db" {
						continue
					}
					checked++
					if !allowed[action] {
						t.Errorf("%s: no endpoint lets %s call %s", template.file, name, action)
					}
				}
			}
		}
	}
	if checked < 12 {
		t.Errorf("%d actions", checked)
	}
}

// The owner of an object in another account has to allow the actions of the relay's role too.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html
func TestREADMENamesActionsForOtherAccounts(t *testing.T) {
	t.Parallel()
	text := section(t, "README.md", "### Other accounts")
	checked := 0
	for _, s := range statementsOf(read(t, "relay.yaml").resources["TaskRole"].properties["Policies"]) {
		service, _, _ := strings.Cut(s.actions[0], ":")
		if service == "rds-db" || service == "secretsmanager" || field(s.fields, "Condition") != nil {
			continue // the database and its secret are in the account of the relay
		}
		checked++
		if row := "`" + strings.Join(s.actions, "`, `") + "`"; !strings.Contains(text, row) {
			t.Errorf("the page does not say that the owner has to allow %s", row)
		}
	}
	if checked != 5 {
		t.Errorf("%d statements", checked)
	}
}

// A queue of another account is subscribed by that account, and its role is not enough. Everything
// else that other accounts could do with the topic stays denied.
// https://docs.aws.amazon.com/sns/latest/dg/sns-send-message-to-sqs-cross-account.html
func TestOtherAccountsOnlySubscribeQueues(t *testing.T) {
	t.Parallel()
	messaging := read(t, "messaging.yaml")
	var allowed []statement
	for _, s := range statementsOf(messaging.resources["TopicPolicy"].properties) {
		if s.effect == "Allow" {
			allowed = append(allowed, s)
		}
	}
	if len(allowed) != 1 || !slices.Equal(allowed[0].actions, []string{"sns:Subscribe"}) ||
		field(allowed[0].fields, "Principal", "AWS", "Ref") != "ConsumerAccounts" ||
		field(allowed[0].fields, "Condition", "StringEquals", "sns:Protocol") != "sqs" {
		t.Fatalf("the topic allows %v", allowed)
	}
	passed := field(read(t, root).resources["Events"].properties, "Parameters", "ConsumerAccounts")
	if !slices.Contains(texts(passed), "EventsConsumerAccounts") {
		t.Errorf("the nested stack gets the accounts %v", passed)
	}
	for file, parameter := range map[string]string{
		"messaging.yaml": "ConsumerAccounts", root: "EventsConsumerAccounts",
	} {
		bad := []string{"*", "arn:aws:iam::123456789012:root", "12"}
		read(t, file).checkPattern(t, parameter, []string{"", "123456789012"}, bad)
	}
}
