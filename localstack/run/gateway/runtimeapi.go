package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// maxLambdaPayload is the maximum size of an event or an answer of Lambda.
// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const maxLambdaPayload = 6 << 20

// runtimeAPI returns the API that a custom runtime calls.
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
func (e *environment) runtimeAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", e.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", e.response)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", e.invocationError)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", e.initErrorReported)
	return mux
}

func (e *environment) next(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.asked = true
	e.mu.Unlock()
	select {
	case e.ready <- nil:
	default:
	}
	select {
	case i := <-e.handed:
		e.give(w, i)
	case <-r.Context().Done():
	}
}

func (e *environment) give(w http.ResponseWriter, i *invocation) {
	deadline, ok := e.begin(i)
	if !ok {
		return
	}
	header := w.Header()
	header.Set("Lambda-Runtime-Aws-Request-Id", i.id)
	header.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(deadline.UnixMilli(), 10))
	header.Set("Lambda-Runtime-Invoked-Function-Arn",
		"arn:aws:lambda:us-east-1:"+accountID+":function:"+e.function.name)
	header.Set("Lambda-Runtime-Trace-Id", i.traceID)
	header.Set("Content-Type", "application/json")
	if _, err := w.Write(i.payload); err != nil {
		e.finish(i, outcome{err: fmt.Errorf("send the event to the runtime: %w", err)})
	}
}

func (e *environment) response(w http.ResponseWriter, r *http.Request) {
	i := e.find(r.PathValue("id"))
	payload, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLambdaPayload))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		e.finish(i, outcome{err: fmt.Errorf("the answer is longer than %d bytes", maxLambdaPayload)})
		answerRuntime(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge")
		return
	}
	// A runtime that fails while it sends reports that in a trailer.
	if fault := r.Trailer.Get("Lambda-Runtime-Function-Error-Type"); fault != "" && err == nil {
		err = errors.New(fault)
	}
	e.answered(w, i, outcome{payload: payload, err: err})
}

func (e *environment) invocationError(w http.ResponseWriter, r *http.Request) {
	i := e.find(r.PathValue("id"))
	e.answered(w, i, outcome{err: fmt.Errorf("function error: %s", errorMessage(r))})
}

func (e *environment) answered(w http.ResponseWriter, i *invocation, o outcome) {
	if !e.finish(i, o) {
		answerRuntime(w, http.StatusBadRequest, "InvalidRequestID")
		return
	}
	answerRuntime(w, http.StatusAccepted, "")
}

func (e *environment) initErrorReported(w http.ResponseWriter, r *http.Request) {
	message := errorMessage(r)
	e.mu.Lock()
	e.initError = message
	e.mu.Unlock()
	answerRuntime(w, http.StatusAccepted, "")
}

// errorMessage returns the runtime's short description of an error.
func errorMessage(r *http.Request) string {
	var report struct{ ErrorType, ErrorMessage string }
	body, err := io.ReadAll(io.LimitReader(r.Body, maxLambdaPayload))
	if err != nil || json.Unmarshal(body, &report) != nil || report.ErrorMessage == "" {
		return r.Header.Get("Lambda-Runtime-Function-Error-Type")
	}
	return report.ErrorType + ": " + report.ErrorMessage
}

func answerRuntime(w http.ResponseWriter, status int, errorType string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if errorType == "" {
		fmt.Fprint(w, `{"status":"OK"}`)
		return
	}
	fmt.Fprintf(w, `{"errorType":%q,"errorMessage":"the invocation is no longer in progress"}`, errorType)
}
