"""Reads the raw answer of InvokeWithResponseStream with botocore's own parser. Arguments: the server's URL and a function. Prints JSON."""

import http.client
import json
import sys
from urllib.parse import urlsplit

from botocore.eventstream import EventStreamBuffer

url, function = sys.argv[1:]
connection = http.client.HTTPConnection(urlsplit(url).netloc)
path = f"/2021-11-15/functions/{function}/response-streaming-invocations"
connection.request("POST", path, body=b"{}", headers={"X-Amz-Log-Type": "Tail"})
response = connection.getresponse()

buffer = EventStreamBuffer()
events = []
# Each piece as it comes: a message may be cut anywhere. The parser checks its lengths and checksums.
while piece := response.read1(7):
    buffer.add_data(piece)
    for event in buffer:
        events.append({"headers": event.headers, "payload": event.payload.decode()})

print(json.dumps({"status": response.status, "type": response.getheader("Content-Type"), "events": events}))
