// Package infra_test checks properties of the CloudFormation templates that a linter cannot know.
package infra_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// template is a parsed CloudFormation template. Functions have their long form: !Ref X is {"Ref":
// "X"}, and !GetAtt X.Y is {"Fn::GetAtt": "X.Y"}.
type template struct {
	file       string
	parameters map[string]any
	mappings   map[string]any
	resources  map[string]resource
	outputs    map[string]any
	rules      map[string]any
	globals    any
	whole      map[string]any
}

type resource struct {
	kind       string
	condition  string
	dependsOn  []string
	onDelete   string // DeletionPolicy
	onReplace  string // UpdateReplacePolicy
	properties map[string]any
}

// root is the template that nests all others.
const root = "../template.yaml"

func readAll(t *testing.T) []template {
	t.Helper()
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("templates %v: %v", files, err)
	}
	all := []template{read(t, root)}
	for _, file := range files {
		all = append(all, read(t, file))
	}
	return all
}

func read(t *testing.T, file string) template {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	parts := valueOf(t, document.Content[0]).(map[string]any)
	result := template{file: file, resources: map[string]resource{}, globals: parts["Globals"], whole: parts}
	result.parameters, _ = parts["Parameters"].(map[string]any)
	result.mappings, _ = parts["Mappings"].(map[string]any)
	result.outputs, _ = parts["Outputs"].(map[string]any)
	result.rules, _ = parts["Rules"].(map[string]any)
	for name, value := range parts["Resources"].(map[string]any) {
		fields := value.(map[string]any)
		r := resource{kind: fields["Type"].(string), dependsOn: texts(fields["DependsOn"])}
		r.properties, _ = fields["Properties"].(map[string]any)
		r.condition, _ = fields["Condition"].(string)
		r.onDelete, _ = fields["DeletionPolicy"].(string)
		r.onReplace, _ = fields["UpdateReplacePolicy"].(string)
		result.resources[name] = r
	}
	return result
}

// valueOf returns a YAML node as maps, slices and scalars.
func valueOf(t *testing.T, node *yaml.Node) any {
	t.Helper()
	function, isFunction := strings.CutPrefix(node.Tag, "!")
	isFunction = isFunction && !strings.HasPrefix(node.Tag, "!!")
	var value any
	switch node.Kind {
	case yaml.MappingNode:
		fields := map[string]any{}
		for pair := range slices.Chunk(node.Content, 2) {
			fields[pair[0].Value] = valueOf(t, pair[1])
		}
		value = fields
	case yaml.SequenceNode:
		elements := []any{}
		for _, element := range node.Content {
			elements = append(elements, valueOf(t, element))
		}
		value = elements
	case yaml.ScalarNode:
		value = node.Value
		if !isFunction {
			if err := node.Decode(&value); err != nil {
				t.Fatalf("line %d: %v", node.Line, err)
			}
		}
	default:
		t.Fatalf("line %d: CloudFormation does not support aliases", node.Line)
	}
	switch {
	case !isFunction:
		return value
	case function == "Ref", function == "Condition":
		return map[string]any{function: value}
	}
	return map[string]any{"Fn::" + function: value}
}

// walk calls visit for value and every value within it.
func walk(value any, visit func(any)) {
	visit(value)
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			walk(v[key], visit)
		}
	case []any:
		for _, element := range v {
			walk(element, visit)
		}
	}
}

// texts returns every text in value.
func texts(value any) (found []string) {
	walk(value, func(v any) {
		if text, ok := v.(string); ok {
			found = append(found, text)
		}
	})
	return found
}

// field returns the value at the end of a path of names, or nil.
func field(value any, path ...string) any {
	for _, name := range path {
		fields, _ := value.(map[string]any)
		value = fields[name]
	}
	return value
}

// choices returns the allowed values of a parameter as texts, or nil if it allows all.
func (t template) choices(parameter string) (allowed []string) {
	list, _ := field(t.parameters, parameter, "AllowedValues").([]any)
	for _, value := range list {
		allowed = append(allowed, fmt.Sprint(value))
	}
	return allowed
}

// named returns the names of all resources of a type in alphabetical order.
func (t template) named(kind string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(t.resources)) {
		if t.resources[name].kind == kind {
			names = append(names, name)
		}
	}
	return names
}

// defaultOf returns the default of a parameter as text.
func (t template) defaultOf(parameter string) string {
	return fmt.Sprint(field(t.parameters, parameter, "Default"))
}
