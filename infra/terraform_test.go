package infra_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// terraform returns the blocks of the example by their type and labels.
func terraform(t *testing.T) map[string]*hclsyntax.Block {
	t.Helper()
	files, err := filepath.Glob("terraform/*.tf")
	if err != nil || len(files) != 4 {
		t.Fatalf("files %v: %v", files, err)
	}
	blocks := map[string]*hclsyntax.Block{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(hclwrite.Format(text), text) {
			t.Errorf("%s: terraform fmt changes it", file)
		}
		parsed, problems := hclparse.NewParser().ParseHCL(text, file)
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		for _, block := range parsed.Body.(*hclsyntax.Body).Blocks {
			name := block.Type
			for _, label := range block.Labels {
				name += " " + label
			}
			blocks[name] = block
		}
	}
	return blocks
}

// stackParameters returns the names of the parameters that the example passes to the stack.
func stackParameters(t *testing.T, stack *hclsyntax.Block) map[string]bool {
	t.Helper()
	given := map[string]bool{}
	pairs, problems := hcl.ExprMap(stack.Body.Attributes["parameters"].Expr)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	for _, pair := range pairs {
		given[hcl.ExprAsKeyword(pair.Key)] = true
	}
	return given
}

func TestTerraformPassesExistingParameters(t *testing.T) {
	t.Parallel()
	relay, blocks := read(t, "relay.yaml"), terraform(t)
	stack := blocks["resource aws_cloudformation_stack relay"]
	given := stackParameters(t, stack)
	for name := range given {
		if relay.parameters[name] == nil {
			t.Errorf("relay.yaml has no parameter %s", name)
		}
	}
	for name, parameter := range relay.parameters {
		if field(parameter, "Default") == nil && !given[name] {
			t.Errorf("relay.yaml needs %s", name)
		}
	}
	for _, reference := range stack.Body.Attributes["parameters"].Expr.Variables() {
		variable := reference[1].(hcl.TraverseAttr).Name
		if blocks["variable "+variable] == nil {
			t.Errorf("there is no variable %s", variable)
		}
	}
}

// notInTerraform are the parameters of relay.yaml that the example leaves at their defaults, and
// why.
var notInTerraform = map[string]string{
	"DatabaseSecretArn":       "the example logs in with IAM authentication",
	"DatabaseSecretKmsKeyArn": "the example logs in with IAM authentication",
}

// A parameter without a variable could be set only by a copy of the example.
func TestTerraformHasEachParameterOfTheRelay(t *testing.T) {
	t.Parallel()
	relay, blocks := read(t, "relay.yaml"), terraform(t)
	stack := blocks["resource aws_cloudformation_stack relay"]
	pairs, problems := hcl.ExprMap(stack.Body.Attributes["parameters"].Expr)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	variables := map[string]string{}
	for _, pair := range pairs {
		variables[hcl.ExprAsKeyword(pair.Key)] = pair.Value.Variables()[0][1].(hcl.TraverseAttr).Name
	}
	for name, parameter := range relay.parameters {
		if _, isException := notInTerraform[name]; (variables[name] == "") != isException {
			t.Errorf("terraform/main.tf has to pass %s, or notInTerraform to have its reason: variable %q, reason %q",
				name, variables[name], notInTerraform[name])
		}
		variable := blocks["variable "+variables[name]]
		if variable == nil || name == "DatabaseUser" || name == "Deployment" {
			continue // the example has its own role and name
		}
		byDefault := variable.Body.Attributes["default"]
		if byDefault == nil || field(parameter, "Default") == nil {
			continue
		}
		text := string(byDefault.Expr.Range().SliceBytes([]byte(readFile(t, byDefault.Expr.Range().Filename))))
		if got := strings.Trim(text, `[]"`); got != relay.defaultOf(name) {
			t.Errorf("%s is %s by default, and %s in relay.yaml", name, got, relay.defaultOf(name))
		}
	}
}

func TestTerraformReturnsExistingOutputs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("terraform/outputs.tf")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\.outputs\["(\w+)"\]`).FindAllStringSubmatch(string(text), -1)
	for _, output := range named {
		if read(t, "relay.yaml").outputs[output[1]] == nil {
			t.Errorf("relay.yaml has no output %s", output[1])
		}
	}
	if len(named) != 5 {
		t.Errorf("outputs %v", named)
	}
}

// Every variable has a type. A variable without a default validates its value.
func TestTerraformVariablesAreTyped(t *testing.T) {
	t.Parallel()
	for name, block := range terraform(t) {
		if block.Type != "variable" {
			continue
		}
		attributes := block.Body.Attributes
		if attributes["type"] == nil || attributes["description"] == nil {
			t.Errorf("%s has no type or description", name)
		}
		if attributes["default"] == nil && len(block.Body.Blocks) == 0 {
			t.Errorf("%s has no validation", name)
		}
	}
}

// CloudFormation accepts larger templates only from S3.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
func TestTerraformCanSendTheTemplate(t *testing.T) {
	t.Parallel()
	info, err := os.Stat("relay.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 51200 {
		t.Errorf("relay.yaml has %d bytes", info.Size())
	}
}
