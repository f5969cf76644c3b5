package fakeaws_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

func TestAnObjectInChunksIsStoredWithoutThem(t *testing.T) {
	t.Parallel()
	server, err := fakeaws.Start(fakeaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	server.CreateBucket("bucket")
	put := func(length string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL()+"/bucket/key",
			strings.NewReader("5\r\nhello\r\n1\r\n!\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request")
		r.Header.Set("X-Amz-Decoded-Content-Length", length)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	if status := put("7"); status == http.StatusOK || server.Object("bucket", "key") != nil {
		t.Errorf("status %d for an object of another length", status)
	}
	if status := put("6"); status != http.StatusOK || string(server.Object("bucket", "key")) != "hello!" {
		t.Errorf("status %d, object %q", status, server.Object("bucket", "key"))
	}
}
