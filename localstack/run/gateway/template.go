package gateway

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// function is one Lambda function of the template.
type function struct {
	name     string // logical id
	routes   []route
	mappings []mapping
	timeout  time.Duration
	memory   int // MiB
	env      map[string]string
}

// route is one event of type Api.
type route struct {
	method, path string
}

// samTemplate has the parts of a SAM template that a request needs.
// https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-template-anatomy.html
type samTemplate struct {
	Parameters map[string]struct {
		Default yaml.Node `yaml:"Default"`
	} `yaml:"Parameters"`
	Globals struct {
		Function functionProperties `yaml:"Function"`
	} `yaml:"Globals"`
	Resources map[string]struct {
		Type       string    `yaml:"Type"`
		Properties yaml.Node `yaml:"Properties"`
	} `yaml:"Resources"`
}

type functionProperties struct {
	Timeout     yaml.Node `yaml:"Timeout"`
	MemorySize  yaml.Node `yaml:"MemorySize"`
	Environment struct {
		Variables map[string]yaml.Node `yaml:"Variables"`
	} `yaml:"Environment"`
	Events map[string]struct {
		Type       string `yaml:"Type"`
		Properties struct {
			Path   string `yaml:"Path"`
			Method string `yaml:"Method"`
		} `yaml:"Properties"`
	} `yaml:"Events"`
}

// readTemplate returns the functions with a route or an event source mapping in alphabetical order.
func readTemplate(path string) ([]function, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the template: %w", err)
	}
	functions, err := parseTemplate(text)
	if err != nil {
		return nil, fmt.Errorf("read the template %s: %w", path, err)
	}
	return functions, nil
}

func parseTemplate(text []byte) ([]function, error) {
	var template samTemplate
	if err := yaml.Unmarshal(text, &template); err != nil {
		return nil, err
	}
	mappings, err := template.mappings()
	if err != nil {
		return nil, err
	}
	var functions []function
	for _, name := range slices.Sorted(maps.Keys(template.Resources)) {
		resource := template.Resources[name]
		if resource.Type != "AWS::Serverless::Function" {
			continue
		}
		var properties functionProperties
		if err := resource.Properties.Decode(&properties); err != nil {
			return nil, fmt.Errorf("function %s: %w", name, err)
		}
		f, err := template.function(name, properties)
		if err != nil {
			return nil, fmt.Errorf("function %s: %w", name, err)
		}
		f.mappings = mappings[name]
		if len(f.routes)+len(f.mappings) > 0 {
			functions = append(functions, f)
		}
	}
	if len(functions) == 0 {
		return nil, errors.New("no AWS::Serverless::Function has an event of type Api or an event source mapping")
	}
	return functions, nil
}

func (t *samTemplate) function(name string, own functionProperties) (function, error) {
	global := t.Globals.Function
	f := function{name: name, env: map[string]string{}}
	for _, variables := range []map[string]yaml.Node{global.Environment.Variables, own.Environment.Variables} {
		for variable, node := range variables {
			if value, known := t.resolve(node); known {
				f.env[variable] = value
			}
		}
	}
	for _, event := range own.Events {
		if event.Type == "Api" {
			f.routes = append(f.routes, route{
				method: strings.ToUpper(event.Properties.Method),
				path:   event.Properties.Path,
			})
		}
	}
	// These are the defaults of Lambda.
	timeout, err := t.integer("Timeout", 3, own.Timeout, global.Timeout)
	f.timeout = time.Duration(timeout) * time.Second
	memory, memoryErr := t.integer("MemorySize", 128, own.MemorySize, global.MemorySize)
	f.memory = memory
	return f, errors.Join(err, memoryErr)
}

// integer returns the first node that is set, or the fallback.
func (t *samTemplate) integer(property string, fallback int, nodes ...yaml.Node) (int, error) {
	for _, node := range nodes {
		if node.IsZero() {
			continue
		}
		text, _ := t.resolve(node)
		number, err := strconv.Atoi(text)
		if err != nil || number <= 0 {
			return 0, fmt.Errorf("%s is not a positive number, or a parameter with such a default", property)
		}
		return number, nil
	}
	return fallback, nil
}

// resolve returns a literal value, or the default of the parameter that node refers to. Values that
// only a deployment knows, such as the attribute of a resource, are unknown.
func (t *samTemplate) resolve(node yaml.Node) (value string, known bool) {
	switch {
	case node.Kind == yaml.ScalarNode && strings.HasPrefix(node.Tag, "!!"):
		return node.Value, true
	case node.Kind == yaml.ScalarNode && node.Tag == "!Ref":
		return t.parameter(node.Value)
	case node.Kind == yaml.MappingNode && len(node.Content) == 2 && node.Content[0].Value == "Ref":
		return t.parameter(node.Content[1].Value)
	}
	return "", false
}

func (t *samTemplate) parameter(name string) (value string, known bool) {
	parameter, known := t.Parameters[name]
	return parameter.Default.Value, known && !parameter.Default.IsZero()
}
