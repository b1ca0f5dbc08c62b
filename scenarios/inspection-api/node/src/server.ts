// The inspection service in TypeScript: two endpoints, each of which looks before it inserts. The environment says which form of it runs; see the
// README one folder up.
import { createServer } from "node:http";
import type { Socket } from "node:net";
import { routes } from "./api.js";
import { readConfig } from "./config.js";
import { Database } from "./database.js";
import { logLine } from "./errors.js";
import { listener } from "./http.js";

/** How long requests may take to finish once the service has been told to end, in milliseconds. */
const grace = 2000;

const config = readConfig(process.env);
if (config.wrong.length > 0) {
  for (const why of config.wrong) logLine(why);
  process.exit(1);
}

const database = new Database(config);
const server = createServer(listener(routes(config, database), config.form));
server.on("error", (error) => {
  logLine(`listening: ${error.message}; try another PORT`);
  process.exit(1);
});

/** Connections on which nothing has been asked yet, as clients open them in advance. Closing a server waits for them. */
const unused = new Set<Socket>();
server.on("connection", (socket) => {
  unused.add(socket);
  socket.once("close", () => unused.delete(socket));
});
server.on("request", (request) => unused.delete(request.socket));

server.listen(config.port, "127.0.0.1", () => logLine(`serves port ${config.port}, form ${config.form}`));

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, end);

/** Takes no more requests and lets those that run finish. Those that do not are given up: their transactions end with their connections. */
function end(): void {
  const cutOff = setTimeout(() => {
    logLine(`requests were cut off after ${grace} ms`);
    process.exit(0);
  }, grace);
  server.close(async () => {
    await database.close();
    clearTimeout(cutOff);
  });
  server.closeIdleConnections();
  for (const socket of unused) socket.destroy();
}
