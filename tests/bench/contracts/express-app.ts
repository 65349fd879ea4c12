/** A server as people write them: one page, and streams both ways. It is run by Node, with Express beside it. */
export const EXPRESS_APP = `const express = require("express");

const PIECE = Buffer.alloc(64 * 1024, "x");
const app = express();
// Keeps the process from being idle by itself, as pools of connections do.
setInterval(() => undefined, 100);

app.get("/", (request, response) => response.send("hello"));
app.post("/", (request, response) => response.send("hello"));

/** Sends so many MiB, as fast as they are read. */
app.get("/bytes/:mib", (request, response) => {
  let left = (Number(request.params.mib) * 1024 * 1024) / PIECE.length;
  const send = () => {
    while (left-- > 0) if (!response.write(PIECE)) return response.once("drain", send);
    return response.end();
  };
  send();
});

/** Takes a body, and says how long it was. */
app.post("/bytes", (request, response) => {
  let bytes = 0;
  request.on("data", (piece) => (bytes += piece.length));
  request.on("end", () => response.json(bytes));
});

/** Sends an event at once, and ends a moment later. */
app.get("/events", (request, response) => {
  response.type("text/event-stream").write("data: 1\\n\\n");
  setTimeout(() => response.end("data: 2\\n\\n"), 20);
});

app.listen(Number(process.env.PORT), "0.0.0.0");
`;
