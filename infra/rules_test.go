package infra_test

import (
	"crypto/x509"
	"encoding/pem"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ruleFunctions are all functions except Ref that CloudFormation evaluates in the section Rules.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-rules.html
var ruleFunctions = []string{
	"Fn::And", "Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn", "Fn::Equals", "Fn::Not", "Fn::Or",
	"Fn::RefAll",
	"Fn::ValueOf", "Fn::ValueOfAll",
}

func TestRulesUseOnlyTheFunctionsOfRules(t *testing.T) {
	t.Parallel()
	rules := 0
	for _, template := range readAll(t) {
		for name, rule := range template.rules {
			rules++
			walk(rule, func(v any) {
				fields, _ := v.(map[string]any)
				if !isFunction(fields) {
					return
				}
				for function, argument := range fields {
					switch {
					case function == "Ref":
						if of := argument.(string); template.parameters[of] == nil && of != "AWS::Region" {
							t.Errorf("%s: the rule %s refers to %s", template.file, name, of)
						}
					case !slices.Contains(ruleFunctions, function):
						t.Errorf("%s: the rule %s uses %s", template.file, name, function)
					}
				}
			})
			for _, assertion := range field(rule, "Assertions").([]any) {
				if text, _ := field(assertion, "AssertDescription").(string); text == "" {
					t.Errorf("%s: the rule %s has no description of its requirement", template.file, name)
				}
			}
		}
	}
	if rules < 4 {
		t.Errorf("%d rules", rules)
	}
}

// Fn::And and Fn::Or accept two to ten conditions, both in Rules and in Conditions.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-conditions.html
func TestAndAndOrHaveTwoToTenConditions(t *testing.T) {
	t.Parallel()
	for _, template := range readAll(t) {
		walk(template.whole, func(v any) {
			for _, function := range []string{"Fn::And", "Fn::Or"} {
				if list, ok := field(v, function).([]any); ok && (len(list) < 2 || len(list) > 10) {
					t.Errorf("%s: %s of %d", template.file, function, len(list))
				}
			}
		})
	}
}

// refusals returns the descriptions of all assertions that fail for these parameters. All other
// parameters have their defaults.
func (t template) refusals(given map[string]string) (refused []string) {
	e := ruleEvaluation{t, given}
	for _, rule := range t.rules {
		if condition := field(rule, "RuleCondition"); condition != nil && !e.holds(condition) {
			continue
		}
		for _, assertion := range field(rule, "Assertions").([]any) {
			if !e.holds(field(assertion, "Assert")) {
				refused = append(refused, field(assertion, "AssertDescription").(string))
			}
		}
	}
	return refused
}

type ruleEvaluation struct {
	template
	given map[string]string
}

func (e ruleEvaluation) holds(condition any) bool {
	for function, argument := range condition.(map[string]any) {
		list, _ := argument.([]any)
		switch function {
		case "Fn::Not":
			return !e.holds(list[0])
		case "Fn::And":
			return !slices.ContainsFunc(list, func(c any) bool { return !e.holds(c) })
		case "Fn::Or":
			return slices.ContainsFunc(list, e.holds)
		case "Fn::Equals":
			return e.values(list[0])[0] == e.values(list[1])[0]
		case "Fn::Contains":
			return slices.Contains(e.values(list[0]), e.values(list[1])[0])
		}
		panic(function)
	}
	return false
}

// values returns the elements of a list. A single text is a list with one element.
func (e ruleEvaluation) values(value any) (elements []string) {
	name, isRef := field(value, "Ref").(string)
	switch {
	case field(value, "Fn::Join") != nil:
		return []string{e.text(value)}
	case !isRef:
		return texts(value)
	}
	text, ok := e.given[name]
	if !ok {
		text = e.defaultOf(name)
	}
	if field(e.parameters, name, "Type") == "CommaDelimitedList" {
		return strings.Split(text, ",")
	}
	return []string{text}
}

// Contradicting parameters are refused at once. Otherwise the deployment would fail a quarter of an
// hour later, when the database is created, or succeed in a wrong state.
func TestContradictingParametersAreRefused(t *testing.T) {
	t.Parallel()
	network := map[string]string{"VpcId": "vpc-1", "SubnetIds": "subnet-1,subnet-2"}
	database := map[string]string{
		"DatabaseUrl": "postgres://h:5432/d", "DatabaseSecretArn": "arn:s", "DatabaseResourceId": "db-1",
		"DatabaseSecurityGroupId": "sg-1",
	}
	for name, c := range map[string]struct {
		given   []map[string]string
		refused bool
	}{
		"nothing":                  {nil, false},
		"a network":                {[]map[string]string{network}, false},
		"a network and a database": {[]map[string]string{network, database}, false},
		"the alarms of a database": {[]map[string]string{
			network, database,
			{"DatabaseInstanceId": "i", "SlotAlarmBytes": "1"},
		}, false},
		"a topic for alarms":                 {[]map[string]string{{"AlarmTopicArn": "arn:t"}}, false},
		"a network without subnets":          {[]map[string]string{{"VpcId": "vpc-1"}}, true},
		"subnets without a network":          {[]map[string]string{{"SubnetIds": "subnet-1"}}, true},
		"zones of an existing network":       {[]map[string]string{network, {"ZoneNames": "a,b"}}, true},
		"an endpoint in an existing network": {[]map[string]string{network, {"QueueEndpoint": "true"}}, true},
		"a database without a network":       {[]map[string]string{database}, true},
		"a snapshot and a database": {
			[]map[string]string{network, database, {"DatabaseSnapshotId": "s"}},
			true,
		},
		"a secret without its database":    {[]map[string]string{{"DatabaseSecretArn": "arn:s"}}, true},
		"a key without its database":       {[]map[string]string{{"DatabaseSecretKmsKeyArn": "arn:k"}}, true},
		"an id without its database":       {[]map[string]string{{"DatabaseResourceId": "db-1"}}, true},
		"an instance without its database": {[]map[string]string{{"DatabaseInstanceId": "i"}}, true},
		"a group without its database":     {[]map[string]string{{"DatabaseSecurityGroupId": "sg-1"}}, true},
		"a limit without its database":     {[]map[string]string{{"SlotAlarmBytes": "1"}}, true},
		"Aurora without its database":      {[]map[string]string{{"DatabaseIsAurora": "true"}}, true},
		"a port of a created database":     {[]map[string]string{{"DatabasePort": "6432"}}, true},
		"two destinations of alarms": {
			[]map[string]string{{"AlarmTopicArn": "arn:t", "AlarmEmail": "a@b"}},
			true,
		},
	} {
		given := map[string]string{"AWS::Region": "eu-central-1"}
		for _, some := range c.given {
			maps.Copy(given, some)
		}
		if refused := read(t, root).refusals(given); (len(refused) > 0) != c.refused {
			t.Errorf("%s: refused because of %q", name, refused)
		}
	}
}

// coveredRegions returns the regions whose RDS certificate authorities the relay and the functions
// contain.
func coveredRegions(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../relay/postgres/rds-roots.pem")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^Amazon RDS ([a-z0-9-]+) Root CA `)
	covered := map[string]bool{}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		region := name.FindStringSubmatch(certificate.Subject.CommonName)
		if region == nil {
			t.Fatalf("%s names no region", certificate.Subject.CommonName)
		}
		covered[region[1]] = true
	}
	return slices.Sorted(maps.Keys(covered))
}

// In a region without known authorities, no connection to the database can be verified. The
// deployment would only fail after the database was created, which takes a quarter of an hour.
func TestRegionsWithoutAuthoritiesAreRefused(t *testing.T) {
	t.Parallel()
	covered, whole := coveredRegions(t), read(t, root)
	for _, region := range covered {
		if refused := whole.refusals(map[string]string{"AWS::Region": region}); len(refused) > 0 {
			t.Errorf("%s is refused because of %q", region, refused)
		}
	}
	for _, region := range []string{
		"il-central-1", "ca-west-1", "ap-east-2", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "mx-central-1",
		"cn-north-1", "cn-northwest-1", "us-gov-east-1", "us-gov-west-1", "a region of tomorrow",
	} {
		given := map[string]string{"AWS::Region": region, "VpcId": "vpc-1", "SubnetIds": "subnet-1"}
		if refused := whole.refusals(given); len(refused) != 1 {
			t.Errorf("%s is accepted: %q", region, refused)
		}
		given["DatabaseAuthorities"] = "replaced"
		if refused := whole.refusals(given); len(refused) > 0 {
			t.Errorf("%s with authorities of its own is refused because of %q", region, refused)
		}
	}
}

func TestREADMEListsTheCoveredRegions(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "<!-- regions -->")
	list, _, _ = strings.Cut(list, "<!-- end of regions -->")
	listed := regexp.MustCompile("[a-z]+-[a-z]+-[0-9]").FindAllString(list, -1)
	if covered := coveredRegions(t); !slices.Equal(listed, covered) {
		t.Errorf("the README lists %q, the programs have %q", listed, covered)
	}
}
