import type { IncomingMessage } from "node:http";
import type { Config } from "./config.js";
import type { Database, Transaction } from "./database.js";
import { Refusal, logLine } from "./errors.js";
import { type Reply, type Routes, badBody, endpointOf, readObject } from "./http.js";
import { once } from "./idempotency.js";
import { createSchedule } from "./schedules.js";
import { createSession } from "./sessions.js";

export function routes({ form }: Config, database: Database): Routes {
  /** Does what a request asks for; in the idempotent form only once, however often it comes. */
  function perform(request: IncomingMessage, by: string, input: object, work: (tx: Transaction) => Promise<Reply>): Promise<Reply> {
    const key = header(request, "idempotency-key");
    const asked = { by, key: key ?? "", request: `${endpointOf(request)} ${JSON.stringify(input)}` };
    return database.marked(header(request, "traceparent"), () =>
      database.transact((tx) => (key && form === "idempotent" ? once(tx, asked, () => work(tx)) : work(tx))),
    );
  }

  return {
    "GET /healthz": async () => {
      await database.ready().catch((error) => {
        logLine(`the database does not answer: ${error}`);
        throw new Refusal(503, "the database does not answer");
      });
      return { status: 200, body: { status: "ok" } };
    },

    "POST /api/inspections/sessions": async (request) => {
      const body = await readObject(request);
      const input = { equipmentSerial: serial(body) };
      const by = inspector(request);
      if (!by) throw new Refusal(400, "X-Inspector is missing");
      return perform(request, by, input, (tx) => createSession(tx, form, { ...input, by }));
    },

    "POST /api/schedules": async (request) => {
      const body = await readObject(request);
      const [equipmentSerial, at] = [serial(body), time(body)];
      const by = inspector(request);
      return perform(request, by, { equipmentSerial, scheduledFor: at }, (tx) => createSchedule(tx, form, { equipmentSerial, at, by }));
    },
  };
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** A text of the body; empty: it is not there. */
function text(body: Record<string, unknown>, name: string): string {
  const value = body[name] ?? "";
  if (typeof value !== "string") throw badBody();
  return value;
}

function serial(body: Record<string, unknown>): string {
  const value = text(body, "equipmentSerial");
  text(body, "scheduledFor"); // of the wrong type, it makes the whole body wrong
  if (value === "" || [...value].length > 255 || value.includes("\0")) throw new Refusal(400, "equipmentSerial is not of 1 to 255 characters");
  return value;
}

const rfc3339 = /^(\d{4}-\d\d-\d\d)T([01]\d|2[0-3]):\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

/** The time of a visit. The parser of Date lets the 30th of February be the 2nd of March, so the day has to come back as it was. */
function time(body: Record<string, unknown>): Date {
  const value = text(body, "scheduledFor");
  const day = rfc3339.exec(value)?.[1];
  const at = new Date(value);
  if (!day || Number.isNaN(at.getTime()) || new Date(`${day}T00:00:00Z`).toISOString().slice(0, 10) !== day) {
    throw new Refusal(400, "scheduledFor is not a time as 2026-01-05T10:00:00Z");
  }
  return at;
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Who asks, as whoever stands in front of the service has found out; empty: nobody. */
function inspector(request: IncomingMessage): string {
  const by = header(request, "x-inspector") ?? "";
  if (by && !uuid.test(by)) throw new Refusal(400, "X-Inspector is not a UUID");
  return by.toLowerCase();
}
