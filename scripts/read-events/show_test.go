package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func TestWholeBodyIsIndentedOnATerminal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, body, want string }{
		{"JSON", `{"id":1}`, "    {\n      \"id\": 1\n    }\n\n"},
		{"text", "hello", "    hello\n\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if err := showPretty(&out)(types.Message{Body: aws.String(c.body)}); err != nil {
				t.Fatal(err)
			}
			if _, body, _ := strings.Cut(out.String(), "\n"); body != c.want {
				t.Errorf("body is shown as %q, want %q", body, c.want)
			}
		})
	}
}
