// The little service that every runtime serves, and what its client sees. It stands after the imports of
// each, so it is text here, and no module.

/* eslint-disable no-unused-vars */
function service({ createIdempotency, memoryStore, idempotent, executionOf, onRoutes, Hono }) {
  const idem = createIdempotency({ store: memoryStore() });
  const scope = "acme-studios";
  let runs = 0;
  const once = idempotent(idem, { scope: (request) => (request.headers.has("x-user") ? scope : undefined) });
  const web = once(async (request) => {
    const { attempt } = executionOf(request);
    return Response.json({ run: ++runs, attempt, asked: await request.json() }, { status: 201, headers: { location: "/1" } });
  });
  const app = new Hono();
  app.post("/hono", onRoutes(idem, { scope: () => scope }), async (c) => {
    const { attempt } = c.get("idempotency");
    return c.json({ run: ++runs, attempt, asked: await c.req.json() }, 201, { location: "/1" });
  });
  return (request, ...rest) => (request.url.endsWith("/hono") ? app.fetch(request, ...rest) : web(request, ...rest));
}

async function client(send) {
  const said = [];
  for (const name of ["web", "hono"]) {
    for (const [body, key] of [['{"a":1}', name], ['{ "a": 1.0 }', name], ['{"a":2}', name], ["{}", "two keys"]]) {
      const headers = { "content-type": "application/json", "idempotency-key": key, "x-user": "ada", "x-request-id": "req-1" };
      const answer = await send(`/${name}`, { method: "POST", headers, body });
      const { run, attempt, asked, code } = await answer.json();
      said.push([answer.status, answer.headers.get("location"), answer.headers.get("idempotent-replayed"), code ?? JSON.stringify([run, attempt, asked])].join());
    }
  }
  return said.join(" ");
}
