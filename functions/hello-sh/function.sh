#!/bin/sh
# The whole contract with Slipway: read request.json, write response.json, exit.

answer() { # exit code, response
  printf '%s\n' "$2" > "$CONTEXT_PATH/response.json"
  exit "$1"
}

# Prints one JSON token per line; a string keeps its quotes and escapes. A quote that does not begin a valid string is a
# token by itself, so that a broken string never reaches the response.
string='"([^"\\[:cntrl:]]|\\(["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"'
token=$(grep -oE "$string"'|[][{}:,]|[^][{}:,"[:space:]]+|"' "$CONTEXT_PATH/request.json" | awk -f message.awk)

case $token in
  '') answer 1 '{"success": false, "message": "missing message"}' ;;
  # The string is JSON already: it goes into the response as it is.
  '"'*) ;;
  *) answer 1 '{"success": false, "message": "message must be a string"}' ;;
esac

# Slipway keeps what a function prints with the record of its call.
printf 'Saying %s\n' "$token"
answer 0 "{\"success\": true, \"message\": $token}"
