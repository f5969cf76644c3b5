package infra_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// fargate has the memory sizes in MiB that Fargate offers for each processor size up to one vCPU.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
var fargate = map[string][]string{
	"256":  {"512", "1024", "2048"},
	"512":  {"1024", "2048", "3072", "4096"},
	"1024": {"2048", "3072", "4096", "5120", "6144", "7168", "8192"},
}

func TestFargateOffersEveryRelaySize(t *testing.T) {
	t.Parallel()
	relay := read(t, "relay.yaml")
	sizes := relay.choices("Size")
	for _, size := range sizes {
		cpu := fmt.Sprint(field(relay.mappings, "Sizes", size, "Cpu"))
		if memory := fmt.Sprint(field(relay.mappings, "Sizes", size, "Memory")); !slices.Contains(fargate[cpu],
			memory) {
			t.Errorf("%s: Fargate has no %s MiB for %s", size, memory, cpu)
		}
	}
	if root := read(t, root); len(sizes) != 3 || !slices.Equal(root.choices("RelaySize"), sizes) {
		t.Errorf("sizes %v, the root's are %v", sizes, root.choices("RelaySize"))
	}
}

// Every name in the pages is a parameter or an output of the root template.
func TestPagesNameExistingParametersAndOutputs(t *testing.T) {
	t.Parallel()
	template := read(t, root)
	for _, page := range []string{"RUNBOOKS.md", "DEPLOYING.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		name := regexp.MustCompile("`((?:Relay|Database|Throttle|Slot|Orders|Queue|Dashboard)[A-Z][A-Za-z]+)`")
		named := name.FindAllStringSubmatch(string(text), -1)
		for _, name := range named {
			isCode := name[1] == "QueueDoesNotExist" // of an answer of SQS
			if !isCode && template.parameters[name[1]] == nil && template.outputs[name[1]] == nil {
				t.Errorf("%s: template.yaml has neither a parameter nor an output %s", page, name[1])
			}
		}
		if len(named) < 4 {
			t.Errorf("%s names only %v", page, named)
		}
	}
}

func TestAPIAcceptsOnlySignedRequests(t *testing.T) {
	t.Parallel()
	api := read(t, root).resources["OrdersApi"]
	if got := field(api.properties, "Auth", "DefaultAuthorizer"); got != "AWS_IAM" {
		t.Errorf("the authorizer is %v", got)
	}
	// Otherwise API Gateway would call the functions with the credentials of the caller, who may
	// not invoke them.
	if got := field(api.properties, "Auth", "InvokeRole"); got != "NONE" {
		t.Errorf("the functions are called as %v", got)
	}
}

// SAM adds a stage named Stage to an API without this property. Neither throttling nor log applies
// to that stage.
// https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-resource-api.html
func TestAPIHasOnlyItsOwnStage(t *testing.T) {
	t.Parallel()
	for _, template := range readAll(t) {
		for _, name := range template.named("AWS::Serverless::Api") {
			api := template.resources[name].properties
			if version := api["OpenApiVersion"]; version != "2.0" {
				t.Errorf("%s: %s has the OpenAPI version %v, so SAM adds a stage", template.file, name, version)
			}
		}
	}
}

// A change of the desired count starts no deployment of ECS, so the circuit breaker and the alarm
// do not watch the new tasks. A service that may have no task starts its first one with another
// task definition, which is a deployment.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html
func TestFirstTaskAfterNoneIsADeployment(t *testing.T) {
	t.Parallel()
	services := 0
	for _, template := range readAll(t) {
		for _, name := range template.named("AWS::ECS::Service") {
			service := template.resources[name].properties
			services++
			task := template.resources[texts(field(service, "TaskDefinition"))[0]].properties
			for parameter := range template.deciding(service["DesiredCount"]) {
				if !template.deciding(task)[parameter] && slices.Contains(template.choices(parameter), "0") {
					t.Errorf("%s: a change of %s starts no deployment of %s", template.file, parameter, name)
				}
			}
		}
	}
	if services == 0 {
		t.Error("no service")
	}
}

// gatewayStatuses are API Gateway's own statuses of its answers. An answer without a status in the
// template keeps its own status. The status of a default answer applies to every answer that the
// template does not name.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
var gatewayStatuses = map[string]string{
	"ACCESS_DENIED": "403", "API_CONFIGURATION_ERROR": "500", "AUTHORIZER_CONFIGURATION_ERROR": "500",
	"AUTHORIZER_FAILURE":     "500",
	"BAD_REQUEST_PARAMETERS": "400", "BAD_REQUEST_BODY": "400", "EXPIRED_TOKEN": "403", "INTEGRATION_FAILURE": "504",
	"INTEGRATION_TIMEOUT": "504", "INVALID_API_KEY": "403", "INVALID_SIGNATURE": "403",
	"MISSING_AUTHENTICATION_TOKEN": "403",
	"QUOTA_EXCEEDED":               "429", "REQUEST_TOO_LARGE": "413", "RESOURCE_NOT_FOUND": "404", "THROTTLED": "429",
	"UNAUTHORIZED":           "401",
	"UNSUPPORTED_MEDIA_TYPE": "415", "WAF_FILTERED": "403",
	"DEFAULT_4XX": "<nil>", "DEFAULT_5XX": "<nil>",
}

func TestGatewayAnswersKeepTheirStatus(t *testing.T) {
	t.Parallel()
	responses := field(read(t, root).resources["OrdersApi"].properties, "GatewayResponses").(map[string]any)
	for name, response := range responses {
		status, known := gatewayStatuses[name]
		body := fmt.Sprint(field(response, "ResponseTemplates", "application/json"))
		if got := fmt.Sprint(field(response, "StatusCode")); !known || got != status {
			t.Errorf("%s has the status %s, and API Gateway's own is %s", name, got, status)
		}
		if strings.Contains(body, `"status":`) && !strings.Contains(body, `"status":`+status+`,`) {
			t.Errorf("%s answers %s with %s", name, status, body)
		}
	}
}

// A relay that fails only while it streams is healthy as a standby, until it acquires the slot.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-ecs-service-deploymentcircuitbreaker.html
func TestNonDeliveringRelayIsRolledBack(t *testing.T) {
	t.Parallel()
	relay := read(t, "relay.yaml")
	configuration := relay.resources["Service"].properties["DeploymentConfiguration"]
	breaker := field(configuration, "DeploymentCircuitBreaker")
	if field(breaker, "Enable") != true || field(breaker, "Rollback") != true ||
		field(breaker, "ResetOnHealthyTask") != false {
		t.Errorf("a task that was healthy for a moment resets the circuit breaker: %v", breaker)
	}
	if field(breaker, "ThresholdConfiguration", "Type") != "COUNT" {
		t.Errorf("the threshold is a percentage of one task: %v", breaker)
	}
	alarms := field(configuration, "Alarms")
	if field(alarms, "Enable") != true || field(alarms, "Rollback") != true {
		t.Fatalf("no alarm rolls a deployment back: %v", alarms)
	}
	for _, name := range texts(field(alarms, "AlarmNames")) {
		if alarm := relay.resources[name].properties; alarm["TreatMissingData"] != "notBreaching" {
			t.Errorf("%s rolls a deployment back before the relay says anything: %v", name, alarm)
		}
	}
}

// An endpoint costs 0.01 US dollars an hour in each zone.
// https://aws.amazon.com/privatelink/pricing/
func TestPriceOfEndpointsMatchesTheirNumber(t *testing.T) {
	t.Parallel()
	network, endpoints := read(t, "network.yaml"), 0
	for _, name := range network.named("AWS::EC2::VPCEndpoint") {
		if r := network.resources[name]; r.condition == "" && r.properties["VpcEndpointType"] == "Interface" {
			endpoints++
		}
	}
	numerals := map[int]string{4: "four", 5: "five", 6: "six"}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	row := fmt.Sprintf("| endpoints: %s in two zones, and their traffic | %.0f |", numerals[endpoints],
		float64(endpoints)*2*730*0.01)
	if !strings.Contains(string(readme), row) {
		t.Errorf("the README does not have the row %s", row)
	}
	if zones, _ := field(network.parameters, "Zones", "Description").(string); !strings.Contains(zones,
		numerals[endpoints]+" endpoints") {
		t.Errorf("the price of a zone is %q", zones)
	}
}
