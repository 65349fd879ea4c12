#!/bin/sh
# A runtime of AWS Lambda in plain shell: it asks for an event, answers it, and asks for the next one.

api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"

while :; do
  wget -q -S -O /tmp/event "$api/next" 2> /tmp/head || exit 1
  id=$(sed -n 's/^ *Lambda-Runtime-Aws-Request-Id: *\([^[:space:]]*\).*/\1/p' /tmp/head)
  name=$(sed -n 's/.*"name": *"\([^"\\]*\)".*/\1/p' /tmp/event)
  echo "greeting ${name:-nobody}"
  wget -q -O /dev/null --post-data "{\"message\": \"Hello, ${name:-world}!\"}" "$api/$id/response"
done
