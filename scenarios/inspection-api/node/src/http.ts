import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Form } from "./config.js";
import { Refusal, explain, logLine } from "./errors.js";

export interface Reply {
  status: number;
  body: object;
}

export type Handler = (request: IncomingMessage) => Promise<Reply>;

/** Handlers by method and path, as "GET /healthz". */
export type Routes = Record<string, Handler>;

/** Makes a server of routes. It is the only place that writes answers. */
export function listener(routes: Routes, form: Form): RequestListener {
  return async (request, response) => {
    const endpoint = endpointOf(request);
    let reply: Reply;
    try {
      const handler = Object.hasOwn(routes, endpoint) ? routes[endpoint] : undefined;
      if (!handler) throw new Refusal(404, "no such endpoint");
      reply = await handler(request);
    } catch (error) {
      reply = explain(error, form, endpoint);
    }
    write(response, reply);
  };
}

/** The method and path of a request. */
export function endpointOf(request: IncomingMessage): string {
  return `${request.method} ${(request.url ?? "").split("?", 1)[0]}`;
}

function write(response: ServerResponse, { status, body }: Reply): void {
  const text = JSON.stringify(body);
  response.on("error", (error) => logLine(`the answer did not arrive: ${error.message}`));
  response.writeHead(status, { "content-type": "application/json; charset=utf-8", "content-length": Buffer.byteLength(text) });
  response.end(text);
}

const largest = 64 << 10;

/** Reads the body, which is one JSON object and nothing else. */
export async function readObject(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size <= largest) chunks.push(chunk); // what is too much is read all the same: the client hears only after it has spoken
  }
  try {
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString());
    if (size <= largest && typeof body === "object" && body !== null && !Array.isArray(body)) return { ...body };
  } catch {
    // it is not JSON
  }
  throw badBody();
}

export function badBody(): Refusal {
  return new Refusal(400, "the body is not JSON of this request");
}
