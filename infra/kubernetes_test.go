package infra_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// manifests are the objects of kubernetes/relay.yaml, decoded with the field validation of the API
// server.
type manifests struct {
	account    core.ServiceAccount
	deployment apps.Deployment
	budget     policy.PodDisruptionBudget
}

func kubernetes(t *testing.T) (m manifests) {
	t.Helper()
	text, err := os.ReadFile("kubernetes/relay.yaml")
	if err != nil {
		t.Fatal(err)
	}
	documents := strings.Split(string(text), "\n---\n")
	objects := []any{&m.account, &m.deployment, &m.budget}
	if len(documents) != len(objects) {
		t.Fatalf("%d objects", len(documents))
	}
	for i, document := range documents {
		if err := yaml.UnmarshalStrict([]byte(document), objects[i]); err != nil {
			t.Fatalf("object %d: %v", i+1, err)
		}
	}
	for _, kind := range []string{
		m.account.APIVersion + " " + m.account.Kind, m.deployment.APIVersion + " " + m.deployment.Kind,
		m.budget.APIVersion + " " + m.budget.Kind,
	} {
		if !slices.Contains([]string{"v1 ServiceAccount", "apps/v1 Deployment", "policy/v1 PodDisruptionBudget"},
			kind) {
			t.Errorf("object %s", kind)
		}
	}
	return m
}

func TestKubernetesObjectsFindEachOther(t *testing.T) {
	t.Parallel()
	m := kubernetes(t)
	spec := m.deployment.Spec
	labels := spec.Template.Labels
	if len(labels) == 0 || !maps.Equal(spec.Selector.MatchLabels, labels) ||
		!maps.Equal(m.budget.Spec.Selector.MatchLabels, labels) {
		t.Errorf("the pods have the labels %v", labels)
	}
	if *spec.Replicas != 2 || m.budget.Spec.MinAvailable.IntValue() != 1 ||
		spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
		t.Error("a rollout or a drained node leaves no relay")
	}
	if spec.Template.Spec.ServiceAccountName != m.account.Name {
		t.Errorf("the pods run as %s", spec.Template.Spec.ServiceAccountName)
	}
	container := spec.Template.Spec.Containers[0]
	for path, probe := range map[string]*core.Probe{
		"/readyz": container.ReadinessProbe,
		"/livez":  container.LivenessProbe,
	} {
		if probe == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != container.Ports[0].Name {
			t.Errorf("%s is probed by %v", path, probe)
		}
	}
}

// The relay has the same resources and privileges on Kubernetes as on ECS.
func TestKubernetesHasTheLimitsOfTheTemplate(t *testing.T) {
	t.Parallel()
	pod := kubernetes(t).deployment.Spec.Template.Spec
	on, relay := pod.Containers[0], read(t, "relay.yaml")
	task, env := container(t)
	size := field(relay.mappings, "Sizes", relay.defaultOf("Size"))
	cpu, err := strconv.Atoi(fmt.Sprint(field(size, "Cpu")))
	if err != nil {
		t.Fatal(err)
	}
	memory := fmt.Sprint(field(size, "Memory")) + "Mi"
	requests, limits := on.Resources.Requests, on.Resources.Limits
	if requests.Cpu().MilliValue() != int64(cpu)*1000/1024 || requests.Memory().String() != memory ||
		limits.Memory().String() != memory {
		t.Errorf("requests %v, limits %v", requests, limits)
	}
	if *pod.TerminationGracePeriodSeconds != int64(field(task, "StopTimeout").(int)) {
		t.Errorf("the pod is killed after %d s", *pod.TerminationGracePeriodSeconds)
	}
	if user := fmt.Sprintf("%d:%d", *pod.SecurityContext.RunAsUser,
		*pod.SecurityContext.RunAsGroup); user != field(task, "User") || !*pod.SecurityContext.RunAsNonRoot {
		t.Errorf("the pod runs as %s", user)
	}
	privileges := on.SecurityContext
	if !*privileges.ReadOnlyRootFilesystem || *privileges.AllowPrivilegeEscalation ||
		!slices.Equal(privileges.Capabilities.Drop, []core.Capability{"ALL"}) {
		t.Errorf("the container has the privileges %v", privileges)
	}
	for _, variable := range on.Env {
		same := slices.Contains([]string{"RELAY_DRAIN_TIMEOUT", "RELAY_START", "RELAY_LINGER"}, variable.Name)
		if want := relay.outcomes(env[variable.Name]); same && !slices.Contains(want, variable.Value) {
			t.Errorf("%s is %s, and %v on ECS", variable.Name, variable.Value, want)
		}
	}
}

func TestKubernetesKeepsThePasswordInASecret(t *testing.T) {
	t.Parallel()
	settings, err := os.ReadFile("../relay/docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range kubernetes(t).deployment.Spec.Template.Spec.Containers[0].Env {
		secret := variable.ValueFrom != nil && variable.ValueFrom.SecretKeyRef != nil
		if variable.Name == "DATABASE_URL" && !secret {
			t.Error("DATABASE_URL is in the manifest")
		}
		if !strings.Contains(string(settings), "\n| `"+variable.Name+"` |") && variable.Name != "AWS_REGION" {
			t.Errorf("the relay has no setting %s", variable.Name)
		}
	}
}
