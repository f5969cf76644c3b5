package infra_test

import (
	"regexp"
	"strings"
	"testing"
)

// arnKinds are the parameters that name objects, by the end of their name, with values that reach
// the object and values of the same object that do not. An IAM policy accepts neither the alias nor
// the id of a key, and nothing refuses them before the first request of the relay is denied.
// https://docs.aws.amazon.com/kms/latest/developerguide/alias-access.html
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html#ARN_secretnamehyphen
var arnKinds = []struct {
	name      *regexp.Regexp
	good, bad []string
}{
	{
		regexp.MustCompile(`KmsKeyArns?$`),
		[]string{"arn:aws:kms:eu-central-1:123456789012:key/mrk-1", "arn:aws-cn:kms:cn-north-1:123456789012:key/1-2"},
		[]string{"arn:aws:kms:eu-central-1:123456789012:alias/events", "alias/events", "1234abcd-12ab-34cd"},
	},
	{
		regexp.MustCompile(`SecretArn$`),
		[]string{"arn:aws:secretsmanager:eu-central-1:123456789012:secret:orders/db-AbC12x"},
		[]string{"arn:aws:secretsmanager:eu-central-1:123456789012:secret:orders/db", "orders/db"},
	},
	{
		regexp.MustCompile(`TopicArns?$`),
		[]string{"arn:aws:sns:eu-central-1:123456789012:events.fifo"},
		[]string{"events.fifo", "arn:aws:sqs:eu-central-1:123456789012:events"},
	},
	{
		regexp.MustCompile(`QueueArns?$`),
		[]string{"arn:aws:sqs:eu-central-1:123456789012:events"},
		[]string{
			"https://sqs.eu-central-1.amazonaws.com/123456789012/events",
			"arn:aws:sns:eu-central-1:123456789012:events",
		},
	},
	{
		regexp.MustCompile(`BusArns?$`),
		[]string{"arn:aws:events:eu-central-1:123456789012:event-bus/orders"},
		[]string{"orders", "arn:aws:events:eu-central-1:123456789012:rule/orders"},
	},
	{
		regexp.MustCompile(`RepositoryArn$`),
		[]string{"arn:aws:ecr:eu-central-1:123456789012:repository/outbox-relay"},
		[]string{"123456789012.dkr.ecr.eu-central-1.amazonaws.com/outbox-relay"},
	},
	{
		regexp.MustCompile(`SecurityGroupId$`),
		[]string{"sg-0123456789abcdef0"},
		[]string{"default", "sgr-0123456789abcdef0"},
	},
}

func TestParametersRefuseNamesThatReachNothing(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, template := range readAll(t) {
		for name := range template.parameters {
			known := false
			for _, kind := range arnKinds {
				if kind.name.MatchString(name) {
					known, checked = true, checked+1
					template.checkPattern(t, name, kind.good, kind.bad)
				}
			}
			if strings.HasSuffix(strings.TrimSuffix(name, "s"), "Arn") && !known {
				t.Errorf("%s: no rule says which ARNs %s accepts", template.file, name)
			}
		}
	}
	if checked < 20 {
		t.Errorf("%d parameters", checked)
	}
}

func (t template) checkPattern(test *testing.T, parameter string, good, bad []string) {
	test.Helper()
	pattern, _ := field(t.parameters, parameter, "AllowedPattern").(string)
	if pattern == "" {
		test.Errorf("%s: %s accepts every text", t.file, parameter)
		return
	}
	allowed := regexp.MustCompile("^(?:" + pattern + ")$")
	for _, value := range good {
		if !allowed.MatchString(value) {
			test.Errorf("%s: %s refuses %s", t.file, parameter, value)
		}
	}
	for _, value := range bad {
		if allowed.MatchString(value) {
			test.Errorf("%s: %s accepts %s", t.file, parameter, value)
		}
	}
}
