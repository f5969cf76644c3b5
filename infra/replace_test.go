package infra_test

import (
	"encoding/json"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// replacements has the properties of each resource type that CloudFormation can change only by
// replacing the resource, according to the schemas of cfn-lint.
const replacements = "testdata/replacements.json"

// schemas is the program with which cfn-lint's Python answers for the resource types in its
// arguments.
const schemas = `
import json, sys
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER
def paths(kind):
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    return sorted(p.removeprefix("/properties/").replace("/", ".") for p in schema.get("createOnlyProperties", []))
json.dump({kind: paths(kind) for kind in sys.argv[1:]}, sys.stdout)
`

// ownTypes returns the types of all resources in the templates, without those of SAM.
func ownTypes(t *testing.T) []string {
	t.Helper()
	kinds := map[string]bool{}
	for _, template := range readAll(t) {
		for _, r := range template.resources {
			if !strings.HasPrefix(r.kind, "AWS::Serverless::") {
				kinds[r.kind] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(kinds))
}

// replacing returns the recorded properties of each type.
func replacing(t *testing.T) map[string][]string {
	t.Helper()
	known := map[string][]string{}
	decodeJSON(t, replacements, &known)
	// The schema has it among the properties that replace only in some cases, and this is one.
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-rds-dbinstance.html
	known["AWS::RDS::DBInstance"] = append(known["AWS::RDS::DBInstance"], "DBSnapshotIdentifier")
	return known
}

// TestToolsHaveTheRecordedReplacements compares the recorded properties with cfn-lint if make
// templates sets -tools. `go test ./infra -run RecordedReplacements -update` records them.
func TestToolsHaveTheRecordedReplacements(t *testing.T) {
	t.Parallel()
	kinds := ownTypes(t)
	recorded := map[string][]string{}
	decodeJSON(t, replacements, &recorded)
	if *tools || *update {
		linter, err := exec.LookPath("cfn-lint")
		if err != nil {
			t.Fatal(err)
		}
		python := filepath.Join(filepath.Dir(linter), "python3") // the one that has its modules
		//nolint:gosec // types of our own templates
		output, err := exec.Command(python, append([]string{"-c", schemas}, kinds...)...).Output()
		if err != nil {
			t.Fatalf("%s with the modules of cfn-lint: %v", python, err)
		}
		now := map[string][]string{}
		if err := json.Unmarshal(output, &now); err != nil {
			t.Fatal(err)
		}
		if *update {
			writeOptions(t, replacements, now)
			recorded = now
		}
		for kind, paths := range now {
			if !slices.Equal(paths, recorded[kind]) {
				t.Errorf("%s is replaced for %v, and %v is recorded", kind, paths, recorded[kind])
			}
		}
	}
	if got := slices.Sorted(maps.Keys(recorded)); !slices.Equal(got, kinds) {
		t.Errorf("%s has %v, and the templates %v", replacements, got, kinds)
	}
}

// deciding returns the parameters that decide about a value: by reference, in a text, or in the
// condition of a choice.
func (t template) deciding(value any) map[string]bool {
	found := map[string]bool{}
	note := func(names map[string]bool) { maps.Copy(found, names) }
	walk(value, func(v any) {
		if name, ok := field(v, "Ref").(string); ok && t.parameters[name] != nil {
			found[name] = true
		}
		if choice, ok := field(v, "Fn::If").([]any); ok {
			note(t.deciding(field(t.whole, "Conditions", choice[0].(string))))
		}
		if condition, ok := field(v, "Condition").(string); ok {
			note(t.deciding(field(t.whole, "Conditions", condition)))
		}
		if fields, ok := v.(map[string]any); ok && fields["Fn::Sub"] != nil {
			for _, name := range placeholder.FindAllStringSubmatch(texts(fields["Fn::Sub"])[0], -1) {
				if t.parameters[name[1]] != nil {
					found[name[1]] = true
				}
			}
		}
	})
	return found
}

// losses returns each parameter whose change takes a resource with data, a subnet or a nested stack
// away from its stack, and the place that decides it.
func (t template) losses(known map[string][]string) map[string]string {
	lost := map[string]string{}
	for name, r := range t.resources {
		_, keeps := keepers[r.kind]
		keeps = keeps && t.file != "alarms.yaml" // another address of the alarms replaces its subscription
		if !keeps && r.kind != "AWS::EC2::Subnet" && r.kind != "AWS::EC2::VPC" {
			continue
		}
		for _, property := range known[r.kind] {
			for parameter := range t.deciding(r.properties[property]) {
				lost[parameter] = name + "." + property
			}
		}
	}
	for _, name := range t.named("AWS::CloudFormation::Stack") {
		for parameter := range t.deciding(map[string]any{"Condition": t.resources[name].condition}) {
			lost[parameter] = "Condition of " + name
		}
	}
	return lost
}

// `sam deploy --guided` shows the descriptions, and no other text, before it changes a stack.
func TestParametersThatReplaceDataSaySo(t *testing.T) {
	t.Parallel()
	known, warned := replacing(t), 0
	warning := regexp.MustCompile(`Another value creates another|Never change|first deployment decides`)
	check := func(template template, lost map[string]string) {
		for parameter, place := range lost {
			text, _ := field(template.parameters, parameter, "Description").(string)
			if !warning.MatchString(strings.ReplaceAll(text, "\n", " ")) {
				t.Errorf("%s: %s replaces %s, which its description does not say: %s", template.file, parameter,
					place, text)
			}
			warned++
		}
	}
	parts := map[string]map[string]string{}
	for _, template := range readAll(t)[1:] {
		parts[template.file] = template.losses(known)
		check(template, parts[template.file])
	}
	whole := read(t, root)
	lost := whole.losses(known)
	for _, name := range whole.named("AWS::CloudFormation::Stack") {
		properties := whole.resources[name].properties
		for parameter, place := range parts[filepath.Base(properties["TemplateURL"].(string))] {
			for given := range whole.deciding(field(properties, "Parameters", parameter)) {
				lost[given] = name + ", " + place
			}
		}
	}
	check(whole, lost)
	if warned < 12 {
		t.Errorf("%d parameters", warned)
	}
}
