package infra_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// awsMetrics are the metrics that AWS services write themselves, with their dimensions.
var awsMetrics = map[string][]string{
	// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/available-metrics.html
	"AWS/ECS CPUUtilization": {"ClusterName", "ServiceName"},
	// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-metrics.html
	"AWS/RDS CPUUtilization":           {"DBInstanceIdentifier"},
	"AWS/RDS DatabaseConnections":      {"DBInstanceIdentifier"},
	"AWS/RDS FreeStorageSpace":         {"DBInstanceIdentifier"},
	"AWS/RDS OldestReplicationSlotLag": {"DBInstanceIdentifier"},
	"AWS/RDS ReplicationSlotDiskUsage": {"DBInstanceIdentifier"},
	"AWS/RDS TransactionLogsDiskUsage": {"DBInstanceIdentifier"},
	// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
	"AWS/SQS ApproximateAgeOfOldestMessage":      {"QueueName"},
	"AWS/SQS ApproximateNumberOfMessagesVisible": {"QueueName"},
	// https://docs.aws.amazon.com/sns/latest/dg/sns-monitoring-using-cloudwatch.html
	"AWS/SNS NumberOfMessagesPublished":      {"TopicName"},
	"AWS/SNS NumberOfNotificationsDelivered": {"TopicName"},
	"AWS/SNS NumberOfNotificationsFailed":    {"TopicName"},
	// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
	"AWS/ApiGateway Count":    {"ApiName", "Stage"},
	"AWS/ApiGateway 4XXError": {"ApiName", "Stage"},
	"AWS/ApiGateway 5XXError": {"ApiName", "Stage"},
	"AWS/ApiGateway Latency":  {"ApiName", "Stage"},
}

// sourceFiles returns the source files of a package of the relay, without its tests.
func sourceFiles(t *testing.T, name string) []string {
	t.Helper()
	files, err := filepath.Glob("../relay/internal/" + name + "/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("package %s has the files %v: %v", name, files, err)
	}
	return slices.DeleteFunc(files, func(file string) bool { return strings.HasSuffix(file, "_test.go") })
}

// sourceOfLabels returns the text of the packages that name the values of labels.
func sourceOfLabels(t *testing.T) string {
	t.Helper()
	var source strings.Builder
	for _, file := range slices.Concat(sourceFiles(t, "metrics"), sourceFiles(t, "health")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	return source.String()
}

// knownMetrics adds the metrics of the relay to awsMetrics. Their names and labels come from the
// source of package metrics, and their dimensions are the deployment, the slot and the labels.
func knownMetrics(t *testing.T) map[string][]string {
	t.Helper()
	names, known := map[string]string{}, map[string][]string{}
	var calls []*ast.CallExpr
	for _, file := range sourceFiles(t, "metrics") {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if len(n.Values) == 1 && strings.HasPrefix(n.Names[0].Name, "metric") {
					names[n.Names[0].Name] = literal(n.Values[0])
				}
			case *ast.CallExpr:
				calls = append(calls, n)
			}
			return true
		})
	}
	for _, call := range calls {
		if constant, labels := definition(call); names[constant] != "" {
			known["OutboxRelay "+names[constant]] = append([]string{"Deployment", "Slot"}, labels...)
		}
	}
	if len(known) < 20 {
		t.Fatalf("package metrics defines %v", known)
	}
	for name, dimensions := range awsMetrics {
		known[name] = dimensions
	}
	return known
}

// definition returns the constant and the labels of a call that defines a metric. The call is
// counters(name, help, labels...) or NewGaugeVec(options, []string{labels...}).
func definition(call *ast.CallExpr) (constant string, labels []string) {
	for i, argument := range call.Args {
		switch a := argument.(type) {
		case *ast.Ident:
			if i == 0 {
				constant = a.Name
			}
		case *ast.BasicLit:
			if i >= 2 {
				labels = append(labels, literal(a))
			}
		case *ast.CompositeLit:
			for _, element := range a.Elts {
				if pair, ok := element.(*ast.KeyValueExpr); ok {
					if name, ok := pair.Value.(*ast.Ident); ok {
						constant = name.Name
					}
					continue
				}
				labels = append(labels, literal(element))
			}
		}
	}
	return constant, labels
}

func literal(expression ast.Expr) string {
	text := ""
	if l, ok := expression.(*ast.BasicLit); ok {
		text, _ = strconv.Unquote(l.Value)
	}
	return text
}

// metric is one metric in an alarm or a widget of the dashboard.
type metric struct {
	place, name string
	dimensions  []string // names of the dimensions
	values      []string // values of the dimensions, if they are constant
}

func alarmMetrics(alarms template) (found []metric) {
	for _, name := range alarms.named("AWS::CloudWatch::Alarm") {
		walk(alarms.resources[name].properties, func(v any) {
			fields, _ := v.(map[string]any)
			if fields["MetricName"] == nil {
				return
			}
			m := metric{place: name, name: fields["Namespace"].(string) + " " + fields["MetricName"].(string)}
			for _, dimension := range fields["Dimensions"].([]any) {
				m.dimensions = append(m.dimensions, field(dimension, "Name").(string))
				if fixed, ok := field(dimension, "Value").(string); ok {
					m.values = append(m.values, fixed)
				}
			}
			found = append(found, m)
		})
	}
	return found
}

// dashboard returns the metrics of the dashboard's body, with all of its conditional parts.
func dashboard(t *testing.T, alarms template) (found []metric) {
	t.Helper()
	var body strings.Builder
	for _, part := range field(alarms.resources["Dashboard"].properties, "DashboardBody",
		"Fn::Join").([]any)[1].([]any) {
		if choice, ok := field(part, "Fn::If").([]any); ok {
			part = choice[1]
		}
		body.WriteString(texts(part)[0])
	}
	var content struct {
		Widgets []struct {
			Properties struct {
				Title   string
				Metrics [][]any
			}
		}
	}
	if err := json.Unmarshal([]byte(body.String()), &content); err != nil {
		t.Fatalf("the dashboard is not JSON: %v", err)
	}
	for _, widget := range content.Widgets {
		for _, list := range widget.Properties.Metrics {
			if m, is := searched(list); is {
				m.place = widget.Properties.Title
				found = append(found, m)
				continue
			}
			words := texts(list)
			m := metric{place: widget.Properties.Title, name: words[0] + " " + words[1]}
			for pair := range slices.Chunk(words[2:], 2) {
				if len(pair) < 2 {
					continue // the options of the widget
				}
				m.dimensions = append(m.dimensions, pair[0])
				if !strings.HasPrefix(pair[1], "$") {
					m.values = append(m.values, pair[1])
				}
			}
			found = append(found, m)
		}
	}
	return found
}

// searched returns the metric that an expression of a widget searches for in each destination.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html
func searched(list []any) (metric, bool) {
	expression, is := field(list[0], "expression").(string)
	search := regexp.MustCompile(`^SEARCH\('\{(\w+),([\w,]+)\} MetricName="(\w+)" `).FindStringSubmatch(expression)
	if !is || search == nil {
		return metric{}, false
	}
	return metric{name: search[1] + " " + search[3], dimensions: strings.Split(search[2], ",")}, true
}

func TestAlarmsAndDashboardReadMetricsThatExist(t *testing.T) {
	t.Parallel()
	alarms, known := read(t, "alarms.yaml"), knownMetrics(t)
	source := sourceOfLabels(t)
	shown := dashboard(t, alarms)
	if len(shown) < 20 {
		t.Errorf("the dashboard shows %d metrics", len(shown))
	}
	for _, m := range slices.Concat(alarmMetrics(alarms), alarmMetrics(read(t, "relay.yaml")), shown) {
		if dimensions, ok := known[m.name]; !ok || !slices.Equal(dimensions, m.dimensions) {
			t.Errorf("%s reads %s of %v, which has %v", m.place, m.name, m.dimensions, dimensions)
		}
		for _, value := range m.values {
			if !strings.Contains(source, strconv.Quote(value)) {
				t.Errorf("%s reads %s of %s, which the relay never writes", m.place, m.name, value)
			}
		}
	}
}

func TestEachAlarmHasARunbookAndEachRunbookAnAlarm(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("RUNBOOKS.md")
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(string(text), -1) {
		open[anchor(heading[1])] = true
	}
	alarms := read(t, "alarms.yaml")
	for _, name := range alarms.named("AWS::CloudWatch::Alarm") {
		alarm := alarms.resources[name].properties
		description, _ := field(alarm, "AlarmDescription", "Fn::Sub").(string)
		meaning, section, _ := strings.Cut(description, " ${Runbooks}#")
		if len(meaning) < 20 || !open[section] {
			t.Errorf("%s: %q has no section of its own in RUNBOOKS.md", name, description)
		}
		delete(open, section)
		for _, needed := range []string{"AlarmActions", "OKActions", "TreatMissingData"} {
			if alarm[needed] == nil {
				t.Errorf("%s has no %s", name, needed)
			}
		}
	}
	for section := range open {
		t.Errorf("the section %s belongs to no alarm", section)
	}
}

// anchor returns the anchor that GitHub gives a heading.
func anchor(heading string) string {
	return strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(heading), ""), " ",
		"-")
}

// Aurora has no FreeStorageSpace metric, so an alarm that treats missing data as breaching would
// never end.
func TestAuroraHasNoDiskAlarm(t *testing.T) {
	t.Parallel()
	alarms := read(t, "alarms.yaml")
	for _, name := range alarms.named("AWS::CloudWatch::Alarm") {
		r := alarms.resources[name]
		if r.properties["MetricName"] == "FreeStorageSpace" && r.condition != "WithDisk" {
			t.Errorf("%s exists with Aurora: its condition is %s", name, r.condition)
		}
	}
	aurora := field(alarms.whole, "Conditions", "WithDisk")
	if !slices.Contains(texts(aurora), "DatabaseIsAurora") {
		t.Errorf("WithDisk is %v", aurora)
	}
}
