#!/bin/sh
# Takes any text and gives it back in capital letters: neither the body nor the answer is JSON.

cd "$CONTEXT_PATH" || exit 1

# A body that its sender calls JSON is only in request.json.
if [ ! -e request.body ]; then
  echo '{"status": 415, "headers": {"Accept-Post": "text/plain"}}' > response.meta.json
  echo '{"success": false, "message": "send a text, with Content-Type: text/plain"}' > response.json
  exit 0
fi

tr '[:lower:]' '[:upper:]' < request.body > response.body
echo '{"status": 201, "headers": {"Content-Type": "text/plain", "Cache-Control": "no-store"}}' > response.meta.json
