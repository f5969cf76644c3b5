package infra_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// textRule is the set of texts that AWS documents for a property. Services check these texts only
// when they create the resource, and linters know few of them.
type textRule struct {
	// resource type, and the path of the property with dots; * is any element of a list
	kind, path string
	allowed    *regexp.Regexp
	source     string
}

const (
	// ec2Texts are the characters of a security group's description and of its rules' descriptions.
	ec2Texts = `^[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}$`
	ec2Rules = "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpRange.html"
	// rdsTexts has no documented set of characters. Other RDS descriptions accept printable ASCII.
	rdsTexts = `^[ -~]{1,255}$`
)

var textRules = []textRule{
	{
		"AWS::EC2::SecurityGroup", "GroupDescription", regexp.MustCompile(ec2Texts),
		"https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html",
	},
	{"AWS::EC2::SecurityGroup", "SecurityGroupIngress.*.Description", regexp.MustCompile(ec2Texts), ec2Rules},
	{"AWS::EC2::SecurityGroup", "SecurityGroupEgress.*.Description", regexp.MustCompile(ec2Texts), ec2Rules},
	{"AWS::EC2::SecurityGroupIngress", "Description", regexp.MustCompile(ec2Texts), ec2Rules},
	{
		"AWS::RDS::DBSubnetGroup", "DBSubnetGroupDescription", regexp.MustCompile(rdsTexts),
		"https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSubnetGroup.html",
	},
	{
		"AWS::RDS::DBParameterGroup", "Description", regexp.MustCompile(rdsTexts),
		"https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBParameterGroup.html",
	},
	{
		"AWS::RDS::DBInstance", "DBName", regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]{0,62}$`),
		"https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstance.html",
	},
	{
		"AWS::RDS::DBInstance", "MasterUsername", regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]{0,62}$`),
		"https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstance.html",
	},
	{
		"AWS::SNS::Topic", "TopicName", regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$|^[A-Za-z0-9_-]{1,251}\.fifo$`),
		"https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html",
	},
	{
		"AWS::SNS::Topic", "DisplayName", regexp.MustCompile(`^[A-Za-z0-9 \t_-]{1,100}$`),
		"https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-sns-topic.html",
	},
	{
		"AWS::SQS::Queue", "QueueName", regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$|^[A-Za-z0-9_-]{1,75}\.fifo$`),
		"https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html",
	},
	{
		"AWS::CloudWatch::Alarm", "AlarmDescription", regexp.MustCompile(`^[ -~]{0,512}[ -~]{0,512}$`),
		"https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html",
	},
	{
		"AWS::CloudWatch::Alarm", "Metrics.*.Id", regexp.MustCompile(`^[a-z][a-zA-Z0-9_]{0,254}$`),
		"https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html",
	},
	{
		"AWS::CloudWatch::Dashboard", "DashboardName", regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`),
		"https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html",
	},
	{
		"AWS::IAM::Role", "Policies.*.PolicyName", regexp.MustCompile(`^[\w+=,.@-]{1,128}$`),
		"https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html",
	},
	{
		"AWS::ECS::TaskDefinition", "Family", regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`),
		"https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html",
	},
	{
		"AWS::ECS::TaskDefinition", "ContainerDefinitions.*.Name", regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`),
		"https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html",
	},
	{
		"AWS::Serverless::Function", "Description", regexp.MustCompile(`^.{0,256}$`),
		"https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html",
	},
	{
		"AWS::EC2::VPC", "Tags.*.Value", regexp.MustCompile(`^[a-zA-Z0-9 +\-=._:/@]{0,256}$`),
		"https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html",
	},
	{
		"AWS::EC2::Subnet", "Tags.*.Value", regexp.MustCompile(`^[a-zA-Z0-9 +\-=._:/@]{0,256}$`),
		"https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html",
	},
}

// freeTexts are names that select an existing object.
var freeTexts = []string{
	"AWS::ECS::Cluster ClusterSettings.*.Name", "AWS::ECS::TaskDefinition ContainerDefinitions.*.Environment.*.Name",
	"AWS::CloudWatch::Alarm Dimensions.*.Name", "AWS::CloudWatch::Alarm Metrics.*.MetricStat.Metric.Dimensions.*.Name",
	"AWS::RDS::DBParameterGroup Family", "AWS::ECS::TaskDefinition RuntimePlatform.OperatingSystemFamily",
}

func ruleOf(kind, path string) (textRule, bool) {
	i := slices.IndexFunc(textRules, func(r textRule) bool { return r.kind == kind && r.path == path })
	if i < 0 {
		return textRule{}, false
	}
	return textRules[i], true
}

func TestNamesAndDescriptionsAreAccepted(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, template := range readAll(t) {
		for name, r := range template.resources {
			eachProperty("", r.properties, func(path string, value any) {
				rule, ok := ruleOf(r.kind, path)
				if !ok {
					return
				}
				used[r.kind+" "+path] = true
				for _, text := range template.outcomes(value) {
					if !rule.allowed.MatchString(text) {
						t.Errorf("%s: %s of %s is %q: see %s", template.file, path, name, text, rule.source)
					}
				}
			})
		}
	}
	for _, rule := range textRules {
		if !used[rule.kind+" "+rule.path] {
			t.Errorf("no template has %s of %s", rule.path, rule.kind)
		}
	}
}

func TestEveryNameAndDescriptionHasItsRule(t *testing.T) {
	t.Parallel()
	textual := regexp.MustCompile(`(Description|QueueName|TopicName|DisplayName|PolicyName|DashboardName|DBName|` +
		`MasterUsername|Family|\.Name)$`)
	for _, template := range readAll(t) {
		for name, r := range template.resources {
			if r.kind == "AWS::CloudFormation::Stack" {
				continue // its parameters are for properties of its own resources
			}
			eachProperty("", r.properties, func(path string, value any) {
				_, ok := ruleOf(r.kind, path)
				if textual.MatchString(path) && !ok && !slices.Contains(freeTexts, r.kind+" "+path) {
					t.Errorf("%s: no rule says which texts %s of %s accepts", template.file, path, name)
				}
			})
		}
	}
}

// The name of a queue is the longest name of a stack. The longest prefix that a parameter allows
// must fit with the longest suffix.
func TestLongestPrefixGivesValidNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		file, parameter string
		fits            int
	}{
		{root, "EventsName", 60},
		{"messaging.yaml", "Name", 60},
		{"consumer.yaml", "Name", 80 - len("-dlq.fifo")},
	} {
		pattern, _ := field(read(t, c.file).parameters, c.parameter, "AllowedPattern").(string)
		allowed, err := regexp.Compile("^(?:" + pattern + ")$") // CloudFormation compares the whole value
		if err != nil {
			t.Fatal(err)
		}
		for name, fits := range map[string]bool{
			"order-events": true, strings.Repeat("n", c.fits): true, strings.Repeat("n", c.fits+1): false,
			"order.events": false, "": false,
		} {
			if allowed.MatchString(name) != fits {
				t.Errorf("%s: the pattern of %s accepts %q: %v", c.file, c.parameter, name, !fits)
			}
		}
	}
	if n := 60 + len("-shipments"); n > 80-len("-dlq.fifo") {
		t.Errorf("the longest EventsName gives a name of %d characters, more than consumer.yaml accepts", n)
	}
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
func TestTemplatesStayWithinTheirQuotas(t *testing.T) {
	t.Parallel()
	identifier := regexp.MustCompile(`^[A-Za-z0-9]{1,255}$`)
	for _, template := range readAll(t) {
		if n := len(fmt.Sprint(template.whole["Description"])); n > 1024 {
			t.Errorf("%s: its description has %d bytes", template.file, n)
		}
		if len(template.parameters) > 200 || len(template.outputs) > 200 || len(template.resources) > 500 {
			t.Errorf("%s: %d parameters, %d outputs, %d resources", template.file, len(template.parameters),
				len(template.outputs), len(template.resources))
		}
		for name, parameter := range template.parameters {
			if n := len(fmt.Sprint(field(parameter, "Description"))); n > 4000 || !identifier.MatchString(name) {
				t.Errorf("%s: the parameter %s has a description of %d characters", template.file, name, n)
			}
		}
		for name, output := range template.outputs {
			if n := len(fmt.Sprint(field(output, "Description"))); n > 1024 || !identifier.MatchString(name) {
				t.Errorf("%s: the output %s has a description of %d bytes", template.file, name, n)
			}
		}
		for name := range template.resources {
			if !identifier.MatchString(name) {
				t.Errorf("%s: %s is not a valid name of a resource", template.file, name)
			}
		}
	}
}
