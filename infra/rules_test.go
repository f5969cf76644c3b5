package infra_test

import (
	"slices"
	"testing"
)

// ruleFunctions are all that CloudFormation evaluates in the section Rules, beside Ref.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-rules.html
var ruleFunctions = []string{
	"Fn::And", "Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn", "Fn::Equals", "Fn::Not", "Fn::Or", "Fn::RefAll",
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
					t.Errorf("%s: the rule %s does not say what it asks for", template.file, name)
				}
			}
		}
	}
	if rules < 4 {
		t.Errorf("%d rules", rules)
	}
}

// And and Or take two to ten conditions, in rules and in conditions.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-conditions.html
func TestAndAndOrTakeTwoToTenConditions(t *testing.T) {
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
