#!/bin/sh
# Takes any text and returns it in capital letters: neither the request nor the response is JSON.

cd "$CONTEXT_PATH" || exit 1

# A body that is declared as JSON is in request.json only.
if [ ! -e request.body ]; then
  echo '{"status": 415, "headers": {"Accept-Post": "text/plain"}}' > response.meta.json
  echo '{"success": false, "message": "send a text, with Content-Type: text/plain"}' > response.json
  exit 0
fi

tr '[:lower:]' '[:upper:]' < request.body > response.body
echo '{"status": 201, "headers": {"Content-Type": "text/plain", "Cache-Control": "no-store"}}' > response.meta.json
