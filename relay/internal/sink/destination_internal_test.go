package sink

import "testing"

// TestAServiceWithoutRulesHasNoName: the name of a destination of a further service is not judged
// by the rules of a queue.
func TestAServiceWithoutRulesHasNoName(t *testing.T) {
	t.Parallel()
	d := Destination{Service: "kinesis", Account: "123456789012", Name: "orders"}
	if d.checkName() == "" {
		t.Errorf("%q passes as the name of a destination of %s", d.Name, d.Service)
	}
	for _, service := range []Service{SNS, SQS, EventBridge} {
		if d.Service = service; d.checkName() != "" {
			t.Errorf("%s: %s", service, d.checkName())
		}
	}
}
