package transport

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
)

// FuzzReadAnswer: any answer of a server is read without a panic, and as net/http reads it if that
// reads it too.
func FuzzReadAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nSum: 1\r\n\r\n",
		"HTTP/1.0 503 \nConnection: close\n\nhello",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhe",
		"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n folded: 2\r\n\r\nhe",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		answer, reusable, err := readAnswer(bufio.NewReaderSize(bytes.NewReader(said), readBuffer))
		if err != nil {
			return
		}
		status, body, err := readByNetHTTP(said)
		if err == nil && (status != answer.Status || !bytes.Equal(body, answer.Body)) {
			t.Errorf("read as %d %q (reusable: %t); net/http reads %d %q", answer.Status, answer.Body, reusable,
				status, body)
		}
		answer.Release()
	})
}

func readByNetHTTP(said []byte) (status int, body []byte, err error) {
	reader := bufio.NewReader(bytes.NewReader(said))
	for {
		response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodPost})
		if err != nil {
			return 0, nil, err
		}
		if response.StatusCode >= 200 {
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			return response.StatusCode, body, err
		}
	}
}
