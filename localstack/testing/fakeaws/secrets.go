package fakeaws

import (
	"encoding/json"
	"io"
	"net/http"
)

// PutSecret stores the text of a secret under its ARN and replaces an earlier text.
func (s *Server) PutSecret(arn, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[arn] = text
}

// secretsTarget is the name of the only supported action of Secrets Manager in AWS JSON 1.1.
const secretsTarget = "secretsmanager.GetSecretValue"

// serveSecret answers GetSecretValue. Faults do not apply to it.
func (s *Server) serveSecret(w http.ResponseWriter, body string) {
	var request struct{ SecretId string }
	err := json.Unmarshal([]byte(body), &request)
	s.mu.RLock()
	text, found := s.secrets[request.SecretId]
	s.mu.RUnlock()
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if err != nil || !found {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the `+
			`specified secret."}`)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"ARN": request.SecretId, "SecretString": text})
}
