package messaging

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// template is a CloudFormation template, limited to the features that messaging.yaml and
// consumer.yaml use: parameters, conditions, and the functions of [evaluation.value]. Any other
// feature is an error.
type template struct {
	Parameters map[string]struct {
		Default string `yaml:"Default"`
	} `yaml:"Parameters"`
	Conditions map[string]yaml.Node `yaml:"Conditions"`
	Resources  map[string]struct {
		Type       string    `yaml:"Type"`
		DependsOn  []string  `yaml:"DependsOn"`
		Properties yaml.Node `yaml:"Properties"`
	} `yaml:"Resources"`
	Outputs map[string]struct {
		Value yaml.Node `yaml:"Value"`
	} `yaml:"Outputs"`
}

// resource is a created resource: the values of Ref and GetAtt.
type resource struct {
	ref        string
	attributes map[string]string
}

// evaluation resolves references by creating the resources that they name.
type evaluation struct {
	template
	given   map[string]string // parameters
	creator *creator
	made    map[string]resource
	making  []string // to find cycles
}

// noValue is AWS::NoValue: the property is treated as absent.
type noValue struct{}

// evaluate creates all resources and returns the outputs.
func evaluate(ctx context.Context, text []byte, parameters map[string]string, creator *creator) (
	map[string]string, error,
) {
	e := &evaluation{given: parameters, creator: creator, made: map[string]resource{}}
	if err := yaml.Unmarshal(text, &e.template); err != nil {
		return nil, fmt.Errorf("parse template: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Resources)) {
		if _, err := e.make(ctx, name); err != nil {
			return nil, err
		}
	}
	outputs := map[string]string{}
	for name, output := range e.Outputs {
		value, err := e.value(ctx, &output.Value)
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", name, err)
		}
		outputs[name] = fmt.Sprint(value)
	}
	return outputs, nil
}

func (e *evaluation) make(ctx context.Context, name string) (resource, error) {
	if r, done := e.made[name]; done {
		return r, nil
	}
	definition, known := e.Resources[name]
	if !known || slices.Contains(e.making, name) {
		return resource{}, fmt.Errorf("%s is no resource of the template, or refers to itself", name)
	}
	e.making = append(e.making, name)
	for _, needed := range definition.DependsOn {
		if _, err := e.make(ctx, needed); err != nil {
			return resource{}, err
		}
	}
	value, err := e.value(ctx, &definition.Properties)
	if err != nil {
		return resource{}, fmt.Errorf("resource %s: %w", name, err)
	}
	properties, ok := value.(map[string]any)
	if !ok {
		return resource{}, fmt.Errorf("resource %s: the properties are no mapping", name)
	}
	r, err := e.creator.create(ctx, definition.Type, properties)
	if err != nil {
		return resource{}, fmt.Errorf("resource %s: %w", name, err)
	}
	e.made[name] = r
	return r, nil
}

func (e *evaluation) value(ctx context.Context, node *yaml.Node) (any, error) {
	switch node.Tag {
	case "!Ref":
		return e.ref(ctx, node.Value)
	case "!GetAtt":
		return e.attribute(ctx, node.Value)
	case "!If":
		return e.choose(ctx, node.Content)
	case "!Join":
		return e.join(ctx, node.Content)
	case "!Equals":
		return e.equals(ctx, node.Content)
	}
	switch {
	case node.Kind == yaml.MappingNode:
		return e.mapping(ctx, node.Content)
	case node.Kind == yaml.SequenceNode:
		return e.list(ctx, node.Content)
	case node.Kind == yaml.ScalarNode && strings.HasPrefix(node.Tag, "!!"):
		var value any
		err := node.Decode(&value)
		return value, err
	}
	return nil, fmt.Errorf("line %d: cannot evaluate %s", node.Line, node.Tag)
}

func (e *evaluation) ref(ctx context.Context, name string) (any, error) {
	if name == "AWS::NoValue" {
		return noValue{}, nil
	}
	if value, ok := e.given[name]; ok {
		return value, nil
	}
	if parameter, ok := e.Parameters[name]; ok {
		return parameter.Default, nil
	}
	r, err := e.make(ctx, name)
	return r.ref, err
}

func (e *evaluation) attribute(ctx context.Context, path string) (any, error) {
	name, attribute, _ := strings.Cut(path, ".")
	r, err := e.make(ctx, name)
	if err != nil {
		return nil, err
	}
	value, ok := r.attributes[attribute]
	if !ok {
		return nil, fmt.Errorf("%s has no attribute %s", name, attribute)
	}
	return value, nil
}

func (e *evaluation) choose(ctx context.Context, arguments []*yaml.Node) (any, error) {
	if len(arguments) != 3 {
		return nil, errors.New("!If takes three arguments")
	}
	condition, ok := e.Conditions[arguments[0].Value]
	if !ok {
		return nil, fmt.Errorf("no condition %s", arguments[0].Value)
	}
	holds, err := e.value(ctx, &condition)
	if err != nil {
		return nil, err
	}
	if holds == true {
		return e.value(ctx, arguments[1])
	}
	return e.value(ctx, arguments[2])
}

func (e *evaluation) equals(ctx context.Context, arguments []*yaml.Node) (any, error) {
	values, err := e.list(ctx, arguments)
	if err != nil || len(values) != 2 {
		return nil, errors.Join(err, fmt.Errorf("!Equals has %d values, not 2", len(values)))
	}
	return fmt.Sprint(values[0]) == fmt.Sprint(values[1]), nil
}

func (e *evaluation) join(ctx context.Context, arguments []*yaml.Node) (any, error) {
	if len(arguments) != 2 {
		return nil, errors.New("!Join takes two arguments")
	}
	values, err := e.list(ctx, arguments[1].Content)
	if err != nil {
		return nil, err
	}
	var parts []string
	for _, value := range values {
		parts = append(parts, fmt.Sprint(value))
	}
	return strings.Join(parts, arguments[0].Value), nil
}

func (e *evaluation) mapping(ctx context.Context, content []*yaml.Node) (any, error) {
	result := map[string]any{}
	for pair := range slices.Chunk(content, 2) {
		value, err := e.value(ctx, pair[1])
		if err != nil {
			return nil, err
		}
		if value != (noValue{}) {
			result[pair[0].Value] = value
		}
	}
	return result, nil
}

func (e *evaluation) list(ctx context.Context, content []*yaml.Node) ([]any, error) {
	var result []any
	for _, node := range content {
		value, err := e.value(ctx, node)
		if err != nil {
			return nil, err
		}
		if value != (noValue{}) {
			result = append(result, value)
		}
	}
	return result, nil
}
