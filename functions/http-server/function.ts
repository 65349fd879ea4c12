// A web server as on any other platform: Slipway starts it before its call, and passes the request on to it.
Bun.serve({
  port: Number(process.env["PORT"] ?? 8080),
  routes: {
    "/": { POST: async (request) => new Response(`You said: ${await request.text()}\n`) },
    "/hello/:name": { GET: ({ params }) => Response.json({ message: `Hello, ${params.name}` }) },
  },
  fetch: () => new Response("There is no such page\n", { status: 404 }),
});

export {};
