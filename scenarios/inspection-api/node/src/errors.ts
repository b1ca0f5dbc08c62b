import { isDriverAdapterError } from "@prisma/driver-adapter-utils";
import type { Form } from "./config.js";
import { Prisma } from "./generated/client.js";
import type { Reply } from "./http.js";

/** An error that the client is told about. Its transaction is rolled back. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    why: string,
  ) {
    super(why);
  }
}

/**
 * Whether a constraint has refused the row because of another one. Prisma has a code of its own for unique violations, P2002; an exclusion violation
 * is a database error like others to it, with Postgres' code in what the driver adapter said.
 */
export function inTheWay(error: unknown): boolean {
  if (!(error instanceof Prisma.PrismaClientKnownRequestError)) return false;
  const said = error.meta?.driverAdapterError ?? {};
  return error.code === "P2002" || (isDriverAdapterError(said) && said.cause.originalCode === "23P01");
}

/**
 * The one place where an error becomes an answer. In production's form, what a constraint refuses is an error like any other: the loser of a race is
 * told that the service failed.
 */
export function explain(error: unknown, form: Form, endpoint: string): Reply {
  if (error instanceof Refusal) return { status: error.status, body: { error: error.message } };
  if (form !== "production" && inTheWay(error)) return { status: 409, body: { error: "somebody else was faster" } };
  logLine(`${endpoint} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  return { status: 500, body: { error: "internal" } };
}

/** Writes a line to stderr. */
export function logLine(text: string): void {
  process.stderr.write(`inspection-api: ${text.replaceAll("\n", " ")}\n`);
}
