// A provisioner for `touchstone check URL --provision 'command:go run provisioner.go URL'`. It makes
// what a run needs over the server's REST routes. Replace what do sends by what your server has.
package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
)

type object = map[string]any

func post(path string, token any, body object) (made object, err error) {
	data, _ := json.Marshal(body)
	request, _ := http.NewRequest("POST", os.Args[1]+path, bytes.NewReader(data))
	request.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {fmt.Sprint("Bearer ", token)}}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return object{"unsupported": false}, err
	}
	defer answer.Body.Close()
	if status := answer.StatusCode; status >= 300 {
		return object{"unsupported": status == 404 || status == 501}, fmt.Errorf("%s answers %d", path, status)
	}
	made = object{}
	return made, json.NewDecoder(answer.Body).Decode(&made)
}

func do(r object) (object, error) {
	switch r["op"] {
	case "account":
		seed, _ := hex.DecodeString(r["seed"].(string))
		key, challenge := ed25519.NewKeyFromSeed(seed), []byte("thirty-two bytes that are signed")
		return post("/v1/auth", "none", object{"publicKey": key.Public(), "challenge": challenge, "signature": ed25519.Sign(key, challenge)})
	case "session":
		return post("/v1/sessions", r["token"], object{"tag": r["tag"], "metadata": r["metadata"], "agentState": r["agentState"], "dataEncryptionKey": r["dataEncryptionKey"]})
	case "machine":
		return post("/v1/machines", r["token"], object{"id": r["machineId"], "metadata": r["metadata"], "daemonState": r["daemonState"], "dataEncryptionKey": r["dataEncryptionKey"]})
	case "accessKey":
		return post(fmt.Sprintf("/v1/access-keys/%s/%s", r["sessionId"], r["machineId"]), r["token"], object{"data": r["data"]})
	}
	return object{"unsupported": true}, fmt.Errorf("no operation %v", r["op"])
}

func main() {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for request := object(nil); in.Decode(&request) == nil; request = nil {
		answer, err := do(request)
		if session, ok := answer["session"].(object); ok {
			answer["sessionId"] = session["id"]
		}
		answer["id"], answer["machineId"] = request["id"], request["machineId"]
		answer["ok"], answer["error"] = err == nil, fmt.Sprint(err)
		out.Encode(answer)
	}
}
