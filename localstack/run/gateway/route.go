package gateway

import (
	"slices"
	"strings"
)

// routes finds the function of a request in the order of API Gateway: a literal segment before a
// parameter, and a parameter before a greedy one.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-method-settings-method-request.html
type routes []target

type target struct {
	route
	segments []string
	pool     *pool
}

const anyMethod = "ANY"

func (r *routes) add(added []route, p *pool) {
	for _, a := range added {
		*r = append(*r, target{route: a, segments: strings.Split(a.path, "/"), pool: p})
	}
	slices.SortStableFunc(*r, func(a, b target) int {
		return strings.Compare(a.rank(), b.rank())
	})
}

// rank sorts more specific targets first.
func (t target) rank() string {
	var rank strings.Builder
	for _, segment := range t.segments {
		rank.WriteByte("012"[kindOf(segment)])
	}
	if t.method == anyMethod {
		rank.WriteByte('9')
	}
	return rank.String()
}

type segmentKind int

const (
	literal segmentKind = iota
	parameter
	greedy
)

func kindOf(segment string) segmentKind {
	switch {
	case strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "+}"):
		return greedy
	case strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "}"):
		return parameter
	}
	return literal
}

func (r routes) match(method, path string) (found target, parameters map[string]string, ok bool) {
	segments := strings.Split(path, "/")
	for _, t := range r {
		if t.method != method && t.method != anyMethod {
			continue
		}
		if parameters, ok := t.parameters(segments); ok {
			return t, parameters, true
		}
	}
	return target{}, nil, false
}

func (t target) parameters(segments []string) (map[string]string, bool) {
	var parameters map[string]string
	set := func(segment, value string) {
		if parameters == nil {
			parameters = map[string]string{}
		}
		parameters[strings.Trim(segment, "{+}")] = value
	}
	for i, segment := range t.segments {
		if i >= len(segments) {
			return nil, false
		}
		kind := kindOf(segment)
		switch {
		case kind == greedy && segments[i] != "":
			set(segment, strings.Join(segments[i:], "/"))
			return parameters, true
		case kind == parameter && segments[i] != "":
			set(segment, segments[i])
		case kind != literal || segment != segments[i]:
			return nil, false
		}
	}
	return parameters, len(segments) == len(t.segments)
}
