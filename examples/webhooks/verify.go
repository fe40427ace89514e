// go run verify.go < body, with WEBHOOK_SECRET and the three header fields in the environment. Exits 0 if it is genuine.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

const tolerance = 5 * time.Minute

// isGenuine tells whether a message is genuine and new. body is what arrived, byte by byte; header is r.Header.Get.
func isGenuine(body []byte, header func(name string) string, secret string) bool {
	id, timestamp := header("webhook-id"), header("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, given := range strings.Split(header("webhook-signature"), " ") {
		if hmac.Equal([]byte(given), []byte(expected)) {
			return true
		}
	}
	return false
}

func main() {
	header := func(name string) string {
		return os.Getenv(strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil || !isGenuine(body, header, os.Getenv("WEBHOOK_SECRET")) {
		os.Exit(1)
	}
}
