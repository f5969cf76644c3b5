package infra_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// stackName has the maximum length of a stack's name. The name of a nested stack begins with that
// of its parent.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
var stackName = "orders-" + strings.Repeat("n", 121)

// eachProperty calls visit with the path and the value of every property in value. In a path, * is
// any element of a list. Both branches of an Fn::If replace the function.
func eachProperty(path string, value any, visit func(path string, value any)) {
	if choice, ok := field(value, "Fn::If").([]any); ok {
		eachProperty(path, choice[1], visit)
		eachProperty(path, choice[2], visit)
		return
	}
	visit(path, value)
	switch v := value.(type) {
	case map[string]any:
		if isFunction(v) {
			return
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			eachProperty(strings.TrimPrefix(path+"."+name, "."), v[name], visit)
		}
	case []any:
		for _, element := range v {
			eachProperty(path+".*", element, visit)
		}
	}
}

// isFunction reports whether fields are a function such as !Ref, and not properties.
func isFunction(fields map[string]any) bool {
	for name := range fields {
		return len(fields) == 1 && (name == "Ref" || name == "Condition" || strings.HasPrefix(name, "Fn::"))
	}
	return false
}

// outcomes returns the texts that a value can evaluate to: with a parameter's default and all of
// its allowed values, with either branch of a condition, and with the longest stack name. It
// returns none for values that only a deployment knows.
func (t template) outcomes(value any) []string {
	fields, isMap := value.(map[string]any)
	if !isMap {
		if _, isList := value.([]any); isList || value == nil {
			return nil
		}
		return []string{fmt.Sprint(value)}
	}
	if name, ok := fields["Ref"].(string); ok {
		return t.reference(name)
	}
	if text, ok := fields["Fn::Sub"].(string); ok {
		return t.substituted(text)
	}
	if choice, ok := fields["Fn::If"].([]any); ok {
		return append(t.outcomes(choice[1]), t.outcomes(choice[2])...)
	}
	if join, ok := fields["Fn::Join"].([]any); ok {
		return t.joined(join[0].(string), join[1])
	}
	return nil
}

func (t template) reference(name string) []string {
	if name == "AWS::StackName" {
		return []string{stackName}
	}
	if t.parameters[name] == nil {
		return nil
	}
	return append(t.choices(name), t.defaultOf(name))
}

var placeholder = regexp.MustCompile(`\$\{([^!}]+)\}`)

// substituted replaces each placeholder in turn by every text that it can evaluate to.
func (t template) substituted(text string) (results []string) {
	found := placeholder.FindStringSubmatchIndex(text)
	if found == nil {
		return []string{text}
	}
	for _, value := range t.reference(text[found[2]:found[3]]) {
		for _, rest := range t.substituted(text[found[1]:]) {
			results = append(results, text[:found[0]]+value+rest)
		}
	}
	return results
}

func (t template) joined(separator string, list any) []string {
	elements, ok := list.([]any)
	if !ok {
		return nil
	}
	results := []string{""}
	for i, element := range elements {
		var longer []string
		for _, begun := range results {
			for _, value := range t.outcomes(element) {
				if i > 0 {
					value = separator + value
				}
				longer = append(longer, begun+value)
			}
		}
		results = longer
	}
	return results
}
