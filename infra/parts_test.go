package infra_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestNestedStacksGetTheirParameters(t *testing.T) {
	t.Parallel()
	whole := read(t, root)
	parts := map[string]template{}
	for _, name := range whole.named("AWS::CloudFormation::Stack") {
		r := whole.resources[name]
		part := read(t, filepath.Join("..", r.properties["TemplateURL"].(string)))
		parts[name] = part
		given, _ := r.properties["Parameters"].(map[string]any)
		for parameter, value := range given {
			if part.parameters[parameter] == nil {
				t.Errorf("%s has no parameter %s", part.file, parameter)
			}
			from, _ := field(value, "Ref").(string)
			for _, choice := range whole.choices(from) {
				if choices := part.choices(parameter); len(choices) > 0 && !slices.Contains(choices, choice) {
					t.Errorf("%s allows %s for %s, %s allows %v", root, choice, from, part.file, choices)
				}
			}
		}
		for parameter := range part.parameters {
			if given[parameter] == nil && field(part.parameters, parameter, "Default") == nil {
				t.Errorf("%s gets no %s", part.file, parameter)
			}
		}
	}
	if len(parts) != 6 {
		t.Errorf("%d parts", len(parts))
	}
	checkOutputs(t, whole, parts)
}

// checkOutputs checks every !GetAtt Part.Outputs.Name, also within !Sub.
func checkOutputs(t *testing.T, whole template, parts map[string]template) {
	t.Helper()
	everything := []any{whole.globals, whole.outputs}
	for _, r := range whole.resources {
		everything = append(everything, r.properties)
	}
	reference := regexp.MustCompile(`(\w+)\.Outputs\.(\w+)`)
	for _, text := range texts(everything) {
		for _, found := range reference.FindAllStringSubmatch(text, -1) {
			if parts[found[1]].outputs[found[2]] == nil {
				t.Errorf("%s has no output %s", found[1], found[2])
			}
		}
	}
}

func TestNothingStartsBeforeTheMigration(t *testing.T) {
	t.Parallel()
	whole := read(t, root)
	migration := whole.resources["Migration"].properties
	if field(migration, "ServiceToken", "Fn::GetAtt") != "MigrateFunction.Arn" ||
		field(migration, "Code", "Ref") != "MigrateFunction.Version" {
		t.Errorf("the migration does not run again with other code: %v", migration)
	}
	if whole.resources["MigrateFunction"].properties["AutoPublishAlias"] == nil {
		t.Error("the migration function has no versions")
	}
	for _, name := range append(whole.named("AWS::Serverless::Function"), "Relay") {
		if name != "MigrateFunction" && !slices.Contains(whole.resources[name].dependsOn, "Migration") {
			t.Errorf("%s does not wait for the migration", name)
		}
	}
}

// The limits of a disk depend on its size. RDS requires a growth limit of at least a tenth above
// the size. A slot that could fill the disk would stop all writers.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.Autoscaling.html
func TestDiskLimitsFitTheirSize(t *testing.T) {
	t.Parallel()
	database := read(t, "database.yaml")
	sizes := database.choices("AllocatedStorage")
	if len(sizes) < 5 || !slices.Equal(read(t, root).choices("DatabaseStorage"), sizes) {
		t.Errorf("sizes %v", sizes)
	}
	number := func(size, name string) int {
		n, err := strconv.Atoi(fmt.Sprint(field(database.mappings, "Disks", size, name)))
		if err != nil {
			t.Fatalf("%s of %s: %v", name, size, err)
		}
		return n
	}
	for _, size := range sizes {
		gib, err := strconv.Atoi(size)
		if err != nil {
			t.Fatal(err)
		}
		keep := number(size, "SlotWalKeepMegabytes")
		if keep*3 > gib<<10 || number(size, "SlotAlarmBytes") != keep<<20/2 {
			t.Errorf("%d GiB: a slot may hold back %d MB, and the alarm is at %d bytes", gib, keep,
				number(size, "SlotAlarmBytes"))
		}
		if most := number(size, "MaxAllocatedStorage"); most*10 < gib*11 || most > 65536 {
			t.Errorf("%d GiB may grow to %d", gib, most)
		}
		if free := number(size, "FreeStorageBytes"); free < gib<<30/10 || free > gib<<30/4 {
			t.Errorf("%d GiB: the alarm is at %d bytes", gib, free)
		}
	}
}

func TestRestoredDatabaseKeepsTheDiskOfItsSnapshot(t *testing.T) {
	t.Parallel()
	instance := read(t, "database.yaml").resources["Instance"].properties
	choice, _ := field(instance["AllocatedStorage"], "Fn::If").([]any)
	if len(choice) != 3 || choice[0] != "FromSnapshot" || field(choice[1], "Ref") != "AWS::NoValue" {
		t.Errorf("a snapshot that has grown is restored to %v", instance["AllocatedStorage"])
	}
}

func TestDefaultsFitTogether(t *testing.T) {
	t.Parallel()
	whole, database, alarms := read(t, root), read(t, "database.yaml"), read(t, "alarms.yaml")
	for here, there := range map[string]string{
		"PostgresVersion": "MajorVersion", "DatabaseStorage": "AllocatedStorage", "DatabaseClass": "InstanceClass",
		"DatabaseMultiAz": "MultiAz",
	} {
		if whole.defaultOf(here) != database.defaultOf(there) {
			t.Errorf("%s is %s by default, %s of database.yaml is %s", here, whole.defaultOf(here), there,
				database.defaultOf(there))
		}
	}
	disk := field(database.mappings, "Disks", database.defaultOf("AllocatedStorage"))
	for parameter, column := range map[string]string{
		"SlotBytes":        "SlotAlarmBytes",
		"FreeStorageBytes": "FreeStorageBytes",
	} {
		if alarms.defaultOf(parameter) != fmt.Sprint(field(disk, column)) {
			t.Errorf("%s is %s by default, and the default disk has %v", parameter, alarms.defaultOf(parameter),
				field(disk, column))
		}
	}
}

// container returns the relay's container and its environment.
func container(t *testing.T) (container any, env map[string]any) {
	t.Helper()
	relay := read(t, "relay.yaml")
	container = relay.resources["TaskDefinition"].properties["ContainerDefinitions"].([]any)[0]
	env = map[string]any{}
	for _, variable := range field(container, "Environment").([]any) {
		env[field(variable, "Name").(string)] = field(variable, "Value")
	}
	return container, env
}

func TestRelayHasTimeToDrain(t *testing.T) {
	t.Parallel()
	relay, env := container(t)
	drain, err := time.ParseDuration(env["RELAY_DRAIN_TIMEOUT"].(string))
	if err != nil {
		t.Fatal(err)
	}
	seconds := field(relay, "StopTimeout").(int)
	stop := time.Duration(seconds) * time.Second
	if stop < drain+15*time.Second {
		t.Errorf("the relay is killed after %s and drains for %s", stop, drain)
	}
}

// The settings of the whole stack reach the relay's container.
func TestRelayGetsRateAndTenantOfTheStack(t *testing.T) {
	t.Parallel()
	whole, part := read(t, root), read(t, "relay.yaml")
	if got := field(whole.resources["Relay"].properties, "Parameters", "MaxRate", "Ref"); got != "RelayMaxRate" {
		t.Errorf("the relay's nested stack gets the rate %v", got)
	}
	_, env := container(t)
	for variable, parameter := range map[string]string{"RELAY_MAX_RATE": "MaxRate", "RELAY_TENANT": "Tenant"} {
		if got := field(env[variable], "Ref"); got != parameter {
			t.Errorf("%s is %v", variable, got)
		}
	}
	if whole.defaultOf("RelayMaxRate") != "0" || part.defaultOf("MaxRate") != "0" ||
		part.defaultOf("Tenant") != "aggregate" {
		t.Error("the defaults are not those of the relay")
	}
}

// Staging and production in one account have slots of the same name. Only the deployment separates
// their metrics.
func TestTwoStacksHaveTheirOwnMetrics(t *testing.T) {
	t.Parallel()
	whole := read(t, root)
	for _, part := range []string{"Relay", "Alarms"} {
		if got := field(whole.resources[part].properties, "Parameters", "Deployment", "Ref"); got != "AWS::StackName" {
			t.Errorf("%s gets the deployment %v", part, got)
		}
	}
	_, env := container(t)
	if got := field(env["RELAY_METRICS_DEPLOYMENT"], "Ref"); got != "Deployment" {
		t.Errorf("the relay's metrics have the deployment %v", got)
	}
	relay, alarms := read(t, "relay.yaml"), read(t, "alarms.yaml")
	if relay.defaultOf("Deployment") != alarms.defaultOf("Deployment") ||
		relay.defaultOf("Slot") != alarms.defaultOf("Slot") {
		t.Error("alarms.yaml does not read the metrics of relay.yaml by default")
	}
}

// DatabaseUrl is readable for every user who may view the stack, the functions or the service.
func TestNoPasswordFitsIntoDatabaseUrl(t *testing.T) {
	t.Parallel()
	for _, file := range []string{root, "relay.yaml"} {
		pattern, _ := field(read(t, file).parameters, "DatabaseUrl", "AllowedPattern").(string)
		allowed, err := regexp.Compile("^(?:" + pattern + ")$")
		if err != nil {
			t.Fatal(err)
		}
		for url, fits := range map[string]bool{
			"postgres://h:5432/d": true,
			"postgresql://h/d":    true,
			"postgres://a,b:5433/d?target_session_attrs=read-write": true,
			"postgres://h/d?sslmode=verify-full&connect_timeout=5":  true,
			"postgres://u@h/d":                            false,
			"postgres://u:p@h/d":                          false,
			"postgres://h/d?password=p":                   false,
			"postgres://h/d?sslmode=require&password=p":   false,
			"postgres://h/d?sslmode=require&pass%77ord=p": false,
			"postgres://h/d?sslmode=require;password=p":   false,
			"postgres://h/d?passfile=/f":                  false,
			"host=h password=p":                           false,
		} {
			if allowed.MatchString(url) != fits {
				t.Errorf("%s accepts %s: %v", file, url, !fits)
			}
		}
	}
}

// Without the property the topic would accept only 256 KiB, while its queues accept 1 MiB.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-sns-topic.html
func TestTopicAndQueuesAcceptTheSameSize(t *testing.T) {
	t.Parallel()
	messaging := read(t, "messaging.yaml")
	for _, name := range slices.Concat(messaging.named("AWS::SNS::Topic"), messaging.named("AWS::SQS::Queue")) {
		if size := fmt.Sprint(messaging.resources[name].properties["MaximumMessageSize"]); size != "1048576" {
			t.Errorf("%s accepts messages of %s bytes", name, size)
		}
	}
}
