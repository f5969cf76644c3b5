package infra_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ecsFiles are the inputs of three AWS CLI commands, and the resources of relay.yaml from which
// they are derived. CloudFormation and CloudWatch spell the names of an alarm alike. ECS starts
// each name in lower case.
var ecsFiles = []struct {
	file, resource, command string
	own                     map[string]any // names that CloudFormation generates or omits
	spell                   func(string) string
}{
	{
		"ecs/task-definition.json", "TaskDefinition", "aws ecs register-task-definition",
		map[string]any{"family": "outbox-relay"},
		lowerFirst,
	},
	{
		"ecs/service.json", "Service", "aws ecs create-service",
		map[string]any{"serviceName": "outbox-relay", "taskDefinition": "outbox-relay"},
		lowerFirst,
	},
	{
		"ecs/alarm.json", "NotDelivering", "aws cloudwatch put-metric-alarm",
		map[string]any{"AlarmName": "outbox-relay-not-delivering"},
		func(name string) string { return name },
	},
}

// ecsValues replaces the values that only a stack knows. The reader replaces the words in ${…},
// which ecs/README.md lists.
var ecsValues = map[string]any{
	"SubnetIds": []any{"${SUBNET_A}", "${SUBNET_B}"}, "DatabaseUser": "${DB_ROLE}",
	"NotDelivering": "outbox-relay-not-delivering",
	"LogGroup":      "${LOG_GROUP}", "AWS::Region": "${AWS_REGION}", "Cluster": "${CLUSTER}",
	"SecurityGroup":     "${SECURITY_GROUP}",
	"ExecutionRole.Arn": "${EXECUTION_ROLE_ARN}", "TaskRole.Arn": "${TASK_ROLE_ARN}",
}

func lowerFirst(name string) string { return strings.ToLower(name[:1]) + name[1:] }

// plain returns a value of the template in the form of the API, with parameter defaults and IAM
// authentication.
func (t template) plain(value any, spell func(string) string) any {
	switch v := value.(type) {
	case []any:
		elements := []any{}
		for _, element := range v {
			elements = append(elements, t.plain(element, spell))
		}
		return elements
	case map[string]any:
		if isFunction(v) {
			return t.resolved(v)
		}
		fields := map[string]any{}
		for name, field := range v {
			if name == "Options" { // options of a log driver keep their spelling
				fields[spell(name)] = t.plain(field, func(name string) string { return name })
				continue
			}
			fields[spell(name)] = t.plain(field, spell)
		}
		if name := fields["name"]; name != nil && fields["value"] != nil { // a variable of the environment
			fields["value"] = fmt.Sprint(fields["value"])
		}
		return fields
	}
	return value
}

func (t template) resolved(function map[string]any) any {
	if choice, ok := function["Fn::If"].([]any); ok && (choice[0] == "WithIam" || choice[0] == "WithRelay") {
		return choice[1]
	}
	if path, ok := function["Fn::FindInMap"].([]any); ok {
		return field(t.mappings, path[0].(string), t.resolved(path[1].(map[string]any)).(string), path[2].(string))
	}
	name, _ := function["Ref"].(string)
	if attribute, ok := function["Fn::GetAtt"].(string); ok {
		name = attribute
	}
	if value := ecsValues[name]; value != nil {
		return value
	}
	if value := field(t.parameters, name, "Default"); value != nil {
		return value
	}
	return "${" + strings.ToUpper(regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(name, "${1}_$2")) + "}"
}

// The JSON files of ecs/ are derived from relay.yaml. `go test ./infra -run ECS -update` writes
// them.
func TestECSFilesAreTheTemplate(t *testing.T) {
	t.Parallel()
	relay := read(t, "relay.yaml")
	for _, derived := range ecsFiles {
		input := relay.plain(relay.resources[derived.resource].properties, derived.spell).(map[string]any)
		for name, value := range derived.own {
			input[name] = value
		}
		var want bytes.Buffer
		encoder := json.NewEncoder(&want)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(input); err != nil {
			t.Fatal(err)
		}
		if *update {
			replaceFile(t, derived.file, want.Bytes())
		}
		if have, err := os.ReadFile(derived.file); err != nil || !bytes.Equal(have, want.Bytes()) {
			t.Errorf("%s differs from %s of relay.yaml (%v): run go test ./infra -run ECS -update", derived.file,
				derived.resource, err)
		}
	}
}

// replaceFile writes a file of the source in one step, because other tests read it meanwhile.
func replaceFile(t *testing.T, name string, content []byte) {
	t.Helper()
	err := os.WriteFile(name+".new", content, 0o644) //nolint:gosec // part of the source
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The top-level names of each file are options of the command that reads it.
func TestECSFilesFitTheirCommands(t *testing.T) {
	t.Parallel()
	var known map[string][]string
	decodeJSON(t, "testdata/options.json", &known)
	for _, derived := range ecsFiles {
		var input map[string]any
		decodeJSON(t, derived.file, &input)
		for name := range input {
			option := "--" + strings.ToLower(regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(name, "${1}-$2"))
			if !slices.Contains(known[derived.command], option) {
				t.Errorf("%s: %s has no option %s", derived.file, derived.command, option)
			}
		}
	}
}

// TestToolsHaveTheInputsOfECS gives each file to its command if make templates sets -tools. The AWS
// CLI validates its input, with every nested name, before it connects. Nothing listens at the
// endpoint.
func TestToolsHaveTheInputsOfECS(t *testing.T) {
	t.Parallel()
	for _, derived := range ecsFiles {
		input := regexp.MustCompile(`\$\{\w+\}`).ReplaceAllString(readFile(t, derived.file), "x")
		if !json.Valid([]byte(input)) {
			t.Errorf("%s is no JSON once its placeholders are replaced", derived.file)
		}
		if !*tools {
			continue
		}
		words := slices.Concat(strings.Fields(derived.command)[1:], []string{
			"--cli-input-json", input, "--region", "eu-central-1", "--endpoint-url", "http://127.0.0.1:9",
			"--no-sign-request",
		})
		cmd := exec.Command("aws", words...) //nolint:gosec // our own files
		cmd.Env = append(os.Environ(), "AWS_MAX_ATTEMPTS=1")
		if output, _ := cmd.CombinedOutput(); !bytes.Contains(output, []byte("Could not connect")) {
			t.Errorf("%s: %s", derived.file, output)
		}
	}
}

// A placeholder that the page does not name would reach AWS unreplaced.
func TestECSPageNamesEveryPlaceholder(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("ecs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, derived := range ecsFiles {
		text, err := os.ReadFile(derived.file)
		if err != nil {
			t.Fatal(err)
		}
		for _, placeholder := range regexp.MustCompile(`\$\{(\w+)\}`).FindAllStringSubmatch(string(text), -1) {
			named[placeholder[1]] = true
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		if !named[row[1]] {
			t.Errorf("no file has the placeholder %s", row[1])
		}
		delete(named, row[1])
	}
	for placeholder := range named {
		t.Errorf("the page does not name %s", placeholder)
	}
}

func decodeJSON(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
